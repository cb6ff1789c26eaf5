"""An origin's seal on what it says of a blob: a signature, and the certificates that prove whose.

    0         1        3        3+s     4+s
    +---------+--------+-----------+-------+--------+-------------+
    | version | length | signature | count | length | certificate |    these two count times
    +---------+--------+-----------+-------+--------+-------------+

Integers are big-endian, unsigned; lengths have two bytes. Certificates are in DER: the signer's,
then each that is behind it. Metainfo follows from the digest alone, so no namespace is in what is
signed, nor a time: it stays true, and the certificate says how long the signer is believed.
"""

import struct
from dataclasses import dataclass
from struct import Struct

from blake3 import blake3

from octopull.blob.metainfo import Growing, Metainfo
from octopull.kernel.errors import Corrupt, Misuse

SEAL_BYTES_MAX = 16 * 1024
"""Four certificates of RSA keys with many names, twice."""

CHAIN_MAX = 4
"""A signer's certificate, and three between it and the authority: more than anybody has."""

VERSION = 1
_HEAD = Struct(">BH")
_LENGTH = Struct(">H")
_PURPOSE = b" " * 64 + b"octopull metainfo seal 1\0"
"""The same key proves itself in TLS handshakes, where the other side chooses the first bytes that
are signed: up to 32 in TLS 1.2. As in TLS 1.3 (RFC 8446, 4.4.3) spaces keep the two apart.
"""


@dataclass(frozen=True, slots=True)
class Seal:
    """A signature, and the certificate chain of who made it, in DER."""

    signature: bytes
    chain: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.chain) <= CHAIN_MAX:
            raise Misuse("a seal needs a certificate, and few behind it", count=len(self.chain))

    def encode(self) -> bytes:
        """The bytes drawn above.

        Raises:
            Misuse: they are too many.

        """
        try:
            parts = [_HEAD.pack(VERSION, len(self.signature)), self.signature]
            parts.append(bytes([len(self.chain)]))
            for certificate in self.chain:
                parts += [_LENGTH.pack(len(certificate)), certificate]
        except struct.error as error:
            raise Misuse("a seal is too long") from error
        encoded = b"".join(parts)
        if len(encoded) > SEAL_BYTES_MAX:
            raise Misuse("a seal is too long", bytes=len(encoded))
        return encoded

    @classmethod
    def decode(cls, encoded: bytes) -> "Seal":
        """The inverse of ``encode``.

        Raises:
            Corrupt: of another version, cut short, too long, or without a certificate.

        """
        if len(encoded) > SEAL_BYTES_MAX:
            raise Corrupt("a seal is too long", bytes=len(encoded))
        try:
            version, length = _HEAD.unpack_from(encoded)
            signature, at = _part(encoded, _HEAD.size, length)
            (count,), at = _part(encoded, at, 1)
            chain = []
            for _ in range(min(count, CHAIN_MAX + 1)):
                (length,) = _LENGTH.unpack_from(encoded, at)
                certificate, at = _part(encoded, at + _LENGTH.size, length)
                chain.append(certificate)
            if version != VERSION or at != len(encoded):
                raise Corrupt("not a seal of a known version", version=version)
            return cls(signature, tuple(chain))
        except (struct.error, Misuse) as error:
            raise Corrupt("a seal is cut short, or has no certificate") from error


def statement(described: Metainfo | Growing) -> bytes:
    """What is signed: a domain of its own, whether it is whole or grows, and its BLAKE3.

    That covers digest, size, piece length and every piece hash.
    """
    kind = b"M" if isinstance(described, Metainfo) else b"G"
    return _PURPOSE + kind + blake3(described.encode()).digest()


def _part(encoded: bytes, at: int, length: int) -> tuple[bytes, int]:
    end = at + length
    if end > len(encoded):
        raise Corrupt("a seal is cut short", bytes=len(encoded))
    return encoded[at:end], end
