"""Tokens that this cluster signs itself: of short life, for one caller, with what they grant."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from octopull.config.access import TokenServiceSettings
from octopull.kernel.errors import Misuse
from octopull.security import key_sets, scopes
from octopull.security.key_sets import Key, KeySet, key_id
from octopull.security.scopes import Scope


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, by which tokens are signed."""

    private: Any
    algorithm: str
    public: Key

    def token(
        self, settings: TokenServiceSettings, name: str, grants: Sequence[Scope], now_s: float
    ) -> str:
        """A token that counts from ``now_s`` (seconds since the epoch) for ``lifetime_s``."""
        import jwt

        claims = {
            "iss": settings.issuer,
            "aud": settings.service,
            "sub": name,
            "iat": int(now_s),
            "exp": int(now_s + settings.lifetime_s),
            "jti": os.urandom(12).hex(),
            "access": scopes.claim(grants),
        }
        headers = {"kid": self.public.id}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=headers)


def parse(content: bytes) -> Signer:
    """The private key in PEM.

    Raises:
        Misuse: it is none that signs tokens here.

    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misuse("no private key in PEM without a password") from error
    if isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    elif isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == "secp256r1":
        algorithm = "ES256"
    else:
        raise Misuse("tokens are signed by a key of P-256 or Ed25519")
    public = private.public_key()
    return Signer(private, algorithm, Key(key_id(public), public))


def public(key: Path, others: str) -> bytes:
    """A JSON Web Key Set of the private key's public half, and of the file ``others`` if named.

    Raises:
        Misuse: a file can't be read.

    """
    try:
        own = KeySet((parse(key.read_bytes()).public,))
        old = key_sets.parse(Path(others).read_bytes()).keys if others else ()
    except OSError as error:
        raise Misuse(f"{error.filename}: {error.strerror}") from error
    return shown(KeySet((*own.keys, *old)))


def shown(keys: KeySet) -> bytes:
    """The keys as a JSON Web Key Set, for those who prove what was signed."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    listed = []
    for key in keys.keys:
        if isinstance(key.public, ec.EllipticCurvePublicKey):
            one = ECAlgorithm.to_jwk(key.public, as_dict=True)
        elif isinstance(key.public, rsa.RSAPublicKey):
            one = RSAAlgorithm.to_jwk(key.public, as_dict=True)
        else:
            one = OKPAlgorithm.to_jwk(key.public, as_dict=True)
        listed.append({**one, "kid": key.id, "use": "sig"})
    return msgspec.json.encode({"keys": listed})


def made(path: Path) -> None:
    """Write a new private key to ``path``, for its owner's eyes alone, unless one is there."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if path.exists():
        return
    content = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
