"""Public keys that prove signatures of images, and whether one does.

Those of cosign: ECDSA on P-256 and P-384, RSA by PKCS #1 v1.5, and Ed25519 over the message itself.
"""

from dataclasses import dataclass
from typing import Any

from octopull.kernel.errors import Misuse
from octopull.security.key_sets import key_id

KEY_BYTES_MAX = 64 * 1024
RSA_BITS_MIN = 2048
"""Less is broken by who can pay for it."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One key; ``name`` is its file's, ``hint`` what bundles call it."""

    name: str
    hint: str
    public: Any

    def proves(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

        sha256 = hashes.SHA256()
        try:
            match self.public:
                case ed25519.Ed25519PublicKey():
                    self.public.verify(signature, message)
                case ec.EllipticCurvePublicKey():
                    return self._proves_by_curve(signature, message)
                case _:
                    self.public.verify(signature, message, padding.PKCS1v15(), sha256)
        except InvalidSignature:
            return False
        return True

    def _proves_by_curve(self, signature: bytes, message: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        # On P-384, cosign took SHA-256 up to version 2, and takes SHA-384 since.
        sizes: list[hashes.HashAlgorithm] = [hashes.SHA256()]
        if self.public.curve.key_size > 256:
            sizes.append(hashes.SHA384())
        for algorithm in sizes:
            try:
                self.public.verify(signature, message, ec.ECDSA(algorithm))
            except InvalidSignature:
                continue
            return True
        return False


def parse(content: bytes, name: str) -> VerifyingKey:
    """The key of a file.

    Raises:
        Misuse: it holds none, or one of a kind that proves nothing here; or what reads keys is not
            installed.

    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise Misuse(f"signatures need the extra 'access' of octopull: {error}") from error
    if len(content) > KEY_BYTES_MAX:
        raise Misuse("a key is not so long", bytes_max=KEY_BYTES_MAX)
    try:
        public = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Misuse("no public key in PEM, such as cosign.pub") from error
    match public:
        case ec.EllipticCurvePublicKey() if public.curve.name in {"secp256r1", "secp384r1"}:
            pass
        case rsa.RSAPublicKey() if public.key_size >= RSA_BITS_MIN:
            pass
        case ed25519.Ed25519PublicKey():
            pass
        case _:
            raise Misuse(f"keys are P-256, P-384, Ed25519, or RSA of {RSA_BITS_MIN} bits or more")
    return VerifyingKey(name, _hint(public), public)


def _hint(public: Any) -> str:
    """As sigstore's bundles name a key: base64, where ``key_id`` is base64url without padding."""
    text = key_id(public).replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)
