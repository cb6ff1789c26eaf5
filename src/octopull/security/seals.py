"""Seals made and proven: by the key of an origin's certificate, and by the cluster's authorities.

Chains are walked here, from the authority down to the signer, so that no key is used that nobody
vouched for. It is done as TLS does it, but for what nobody needs among services: a certificate
that demands more by a critical extension than is understood here is refused.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.seal import CHAIN_MAX, Seal, statement
from octopull.blob.start import Sealed
from octopull.config.tls import ClusterTls
from octopull.kernel.errors import Corrupt, Misuse
from octopull.security.identity import CertificateNames
from octopull.security.roles import Role, listed, roles_of

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
except ImportError as error:
    raise Misuse("with tls, metainfo is sealed and proven with: pip install 'octopull[certs]' "
                 "(or say tls.seals: ignored)") from error  # fmt: skip

SIGNATURES_MAX = 10_000
"""Kept by an origin: what its trackers ask for again each minute. 2 MB of them."""

CHAINS_MAX = 256
"""Kept by who proves: more than a cluster has origins."""

NAME_CHARS_MAX = 200
"""Of a signer's name in a line of the log."""

_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
_UNDERSTOOD = frozenset({
    x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid,
    x509.SubjectAlternativeName.oid,
})  # fmt: skip

E = TypeVar("E", bound=x509.ExtensionType)
_SENSELESS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
)
"""What the library says to bytes that are no certificate, or one of a kind that it can't read."""

_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
KEYS = "metainfo is sealed by keys of ECDSA, RSA or Ed25519"


@dataclass(frozen=True, slots=True)
class Signer:
    """Whom a chain proves to be an origin: by this key, from when until when (Unix time)."""

    name: str
    key: _Public
    begins_at: float
    ends_at: float


class Sealer:
    """Seals what an origin says, by its certificate's key. Calls block, from any thread."""

    def __init__(self, key: _Private, chain: Sequence[bytes]) -> None:
        self._key = key
        self.chain = tuple(chain)
        self._encoded = functools.lru_cache(SIGNATURES_MAX)(self._sign)

    def seal(self, described: Metainfo | Growing) -> Sealed:
        """``described`` with a seal on it; of what was sealed lately, the same one."""
        said = statement(described)
        if isinstance(described, Growing):
            # Said once: it has grown when somebody asks again.
            return Sealed(described, self._sign(said))
        return Sealed(described, self._encoded(said))

    def _sign(self, said: bytes) -> bytes:
        return Seal(_signature(self._key, said), self.chain).encode()


class Prover:
    """Proves seals by ``authorities``, certificates in DER. Calls block, from any thread."""

    def __init__(self, authorities: Iterable[bytes]) -> None:
        self._authorities = [x509.load_der_x509_certificate(one) for one in authorities]
        self.signer = functools.lru_cache(CHAINS_MAX)(self._signer)

    def prove(self, sealed: Sealed, now_s: float) -> Signer:
        """Which origin says so, at ``now_s`` in Unix time.

        Raises:
            Corrupt: none that this cluster's authorities prove.

        """
        seal = Seal.decode(sealed.seal)
        signer = self.signer(seal.chain)
        if now_s < signer.begins_at:
            raise Corrupt(f"the certificate of {signer.name} does not count yet")
        if now_s >= signer.ends_at:
            raise Corrupt(f"the certificate of {signer.name} has expired")
        try:
            _verify(signer.key, seal.signature, statement(sealed.described))
        except InvalidSignature as error:
            raise Corrupt(f"{signer.name} did not seal it") from error
        return signer

    def _signer(self, chain: tuple[bytes, ...]) -> Signer:
        try:
            certificates = [x509.load_der_x509_certificate(one) for one in chain]
            line = self._line(certificates)
            found = _names(certificates[0])
            key = certificates[0].public_key()
            _check_uses(certificates[0])
        except _SENSELESS as error:
            raise Corrupt(f"a seal's certificate makes no sense: {error}") from error
        roles = roles_of(found)
        if Role.ORIGIN not in roles:
            raise Corrupt(f"its certificate is for {listed(roles)}, not for {Role.ORIGIN}")
        if not isinstance(key, _Public):
            raise Corrupt(KEYS)
        name = next(one for one in found.uris if roles_of(CertificateNames(uris=(one,))))
        return Signer(
            name[:NAME_CHARS_MAX], key,
            max(one.not_valid_before_utc.timestamp() for one in line),
            min(one.not_valid_after_utc.timestamp() for one in line),
        )  # fmt: skip

    def _line(self, chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
        """``chain``, and the authority behind it."""
        believed, line = list(self._authorities), list(chain)
        for beneath, one in reversed(list(enumerate(chain))):
            signer = next((other for other in believed if _signed(one, other)), None)
            if signer is None:
                raise Corrupt("its certificate is of another authority than ours")
            _check_authority(signer, beneath)
            line.append(signer)
            believed.append(one)
        return line


def load_sealer(files: ClusterTls) -> Sealer:
    """What seals by the certificate and key in their files.

    Raises:
        Misuse: they can't be read, do not belong together, or are of a kind that seals nothing.

    """
    try:
        certificates = x509.load_pem_x509_certificates(Path(files.certificate).read_bytes())
        key = serialization.load_pem_private_key(Path(files.key).read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misuse(
            f"no seals with certificate {files.certificate} and key {files.key}: {error}"
        ) from error
    if not isinstance(key, _Private):
        raise Misuse(KEYS)
    if key.public_key() != certificates[0].public_key():
        raise Misuse(f"{files.key} is not the key of {files.certificate}")
    # Whoever proves a seal has the authority already.
    behind = [one for one in certificates[1:] if one.issuer != one.subject]
    chain = [certificates[0], *behind][:CHAIN_MAX]
    return Sealer(key, [one.public_bytes(serialization.Encoding.DER) for one in chain])


def check_own(sealer: Sealer, prover: Prover, certificate: str) -> None:
    """Raises Misuse: nobody of this cluster would believe what ``sealer`` seals.

    Not if it has expired only: a service goes on, and takes the next one when it comes.
    """
    try:
        prover.signer(sealer.chain)
    except Corrupt as fault:
        raise Misuse(f"{certificate} seals nothing that others believe: {fault}; tls.seals: "
                     "ignored does without") from fault  # fmt: skip


def _signature(key: _Private, said: bytes) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(said, ec.ECDSA(_hash(key.curve)))
        case rsa.RSAPrivateKey():
            return key.sign(said, _PSS, hashes.SHA256())
        case _:
            return key.sign(said)


def _verify(key: _Public, signature: bytes, said: bytes) -> None:
    """Raises InvalidSignature: somebody else signed, or something else."""
    match key:
        case ec.EllipticCurvePublicKey():
            key.verify(signature, said, ec.ECDSA(_hash(key.curve)))
        case rsa.RSAPublicKey():
            key.verify(signature, said, _PSS, hashes.SHA256())
        case _:
            key.verify(signature, said)


def _hash(curve: ec.EllipticCurve) -> hashes.HashAlgorithm:
    """One as strong as the curve."""
    if curve.key_size <= 256:
        return hashes.SHA256()
    return hashes.SHA384() if curve.key_size <= 384 else hashes.SHA512()


def _signed(one: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_authority(one: x509.Certificate, beneath: int) -> None:
    """Raises Corrupt: ``one`` may sign no certificates, or not with ``beneath`` others under it."""
    _check_understood(one)
    limits = _extension(one, x509.BasicConstraints)
    uses = _extension(one, x509.KeyUsage)
    if limits is None or not limits.ca or (uses is not None and not uses.key_cert_sign):
        raise Corrupt("its certificate is signed by one that may not sign certificates")
    if limits.path_length is not None and limits.path_length < beneath:
        raise Corrupt("there are more certificates behind it than its authority allows")


def _check_uses(one: x509.Certificate) -> None:
    _check_understood(one)
    uses = _extension(one, x509.KeyUsage)
    if uses is not None and not uses.digital_signature:
        raise Corrupt("its certificate may not sign")


def _check_understood(one: x509.Certificate) -> None:
    for extension in one.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise Corrupt(f"its certificate demands what is not understood here: {extension.oid}")


def _extension(one: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _names(one: x509.Certificate) -> CertificateNames:
    names = _extension(one, x509.SubjectAlternativeName)
    uris = () if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    return CertificateNames(uris=tuple(uris))
