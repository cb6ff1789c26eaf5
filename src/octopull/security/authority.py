"""An authority of one's own, and the certificates it issues: ECDSA with P-256, which all know.

Like seals (``security/seals.py``) it needs ``cryptography``: for TLS the ``ssl`` module is enough.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from octopull.kernel.errors import Corrupt, Misuse
from octopull.security.roles import Role, uri

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    raise Misuse("certificates are made with: pip install 'octopull[certs]'") from error

Certificate = x509.Certificate
SKEW = timedelta(minutes=10)
"""Certificates count from a little before they were made: hosts' clocks differ."""

_LEAF_USES = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
    encipher_only=False, decipher_only=False,
)  # fmt: skip
_AUTHORITY_USES = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
    encipher_only=False, decipher_only=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """The certificate, as TLS libraries read it."""
        return pem([self.certificate])

    def key_pem(self) -> bytes:
        """The key in clear: its file is to be guarded."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate is for: what it is, and the names and addresses it is reached by."""

    role: Role
    names: tuple[str, ...]
    """The first is what it is called, too."""


def new_authority(now: datetime, life: timedelta) -> Issued:
    """An authority that signs itself; several differ in their names."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = _named(f"octopull authority {now:%Y-%m-%d} {serial % 0x10000:04x}")
    builder = (
        _begun(name, name, key, serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_AUTHORITY_USES, critical=True)
    )
    return Issued(builder.sign(key, hashes.SHA256()), key)


def issue(authority: Issued, holder: Holder, now: datetime, life: timedelta) -> Issued:
    """A certificate for ``holder``, which ends no later than its authority.

    Raises:
        Misuse: the authority has ended. InvalidName: the holder's name is none.

    """
    end = min(now + life, authority.certificate.not_valid_after_utc)
    if end <= now:
        raise Misuse("the authority has expired: octopull certs rotate --authority")
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority.certificate
    known = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identity = x509.UniformResourceIdentifier(uri(holder.role, holder.names[0]))
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = _named(f"{holder.role} {holder.names[0]}"[:64])
    builder = (
        _begun(signer.subject, subject, key, x509.random_serial_number())
        .not_valid_before(max(now - SKEW, signer.not_valid_before_utc))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_LEAF_USES, critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([*map(_general, holder.names), identity]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), critical=False
        )
    )
    return Issued(builder.sign(authority.key, hashes.SHA256()), key)


def holder_of(certificate: x509.Certificate) -> Holder | None:
    """Whom ``issue`` made it for; None if it is somebody else's work."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    hosts = tuple(str(one.value) for one in names if isinstance(one, x509.DNSName | x509.IPAddress))
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    for role in Role:
        if hosts and uri(role, hosts[0]) in uris:
            return Holder(role, hosts)
    return None


def signer_of(
    certificate: x509.Certificate, authorities: Iterable[x509.Certificate]
) -> x509.Certificate | None:
    """The one of ``authorities`` that signed it."""
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return authority
    return None


def pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """``certificates`` in one file."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def read_certificates(content: bytes, where: str) -> list[x509.Certificate]:
    """All certificates in a PEM file, which ``where`` names in a complaint.

    Raises:
        Corrupt: there are none.

    """
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise Corrupt(f"{where} holds no certificate: {error}") from error


def read_key(content: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    """The key in a PEM file.

    Raises:
        Corrupt: there is none, or one of another kind than we make.

    """
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise Corrupt(f"{where} holds no key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Corrupt(f"{where} holds a key of another kind than octopull's")
    return key


def now() -> datetime:
    """By this host's clock, to the second, as certificates count."""
    return datetime.now(UTC).replace(microsecond=0)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _begun(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey, serial: int
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .add_extension(identifier, critical=False)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
