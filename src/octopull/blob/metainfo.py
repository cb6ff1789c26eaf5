"""Metainfo: what a peer must know to fetch a blob piece by piece and prove each one.

    0       4     5        5+d      13+d           17+d
    +-------+-----+--------+--------+--------------+---------------+
    | magic | ver | digest |  size  | piece length | piece hashes  |
    +-------+-----+--------+--------+--------------+---------------+

Integers are big-endian, unsigned; the digest is packed, in ``d`` bytes (kernel/digest.py). The
BLAKE3 of these bytes is the swarm's info hash.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from struct import Struct

from blake3 import blake3

from octopull.blob.hashing import HASH_BYTES
from octopull.blob.layout import Layout
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest, Misuse

MAGIC = b"OPMI"
VERSION = 2
_HEAD = Struct(">4sB")
_SIZES = Struct(">QI")
METAINFO_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Metainfo:
    """The digest, size, piece length and piece hashes (32 bytes each) of one blob."""

    digest: Digest
    layout: Layout
    piece_hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.piece_hashes) != self.layout.count:
            raise Misuse(
                "one hash per piece", hashes=len(self.piece_hashes), pieces=self.layout.count
            )

    @cached_property
    def info_hash(self) -> str:
        """BLAKE3 of the encoded metainfo, 64 hexadecimal characters."""
        return blake3(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The bytes drawn above."""
        head = _HEAD.pack(MAGIC, VERSION) + self.digest.pack()
        sizes = _SIZES.pack(self.layout.size, self.layout.piece_length)
        return head + sizes + b"".join(self.piece_hashes)

    @classmethod
    def decode(cls, encoded: bytes) -> "Metainfo":
        """The inverse of ``encode``.

        Raises:
            Corrupt: wrong magic or version, a digest of an unknown algorithm, impossible
                lengths, or too few or too many hashes.

        """
        if not _HEAD.size <= len(encoded) <= METAINFO_BYTES_MAX:
            raise Corrupt("metainfo has an impossible length", bytes=len(encoded))
        magic, version = _HEAD.unpack_from(encoded)
        if (magic, version) != (MAGIC, VERSION):
            raise Corrupt("not metainfo of a known version", version=version)
        try:
            digest, at = Digest.unpack(encoded, _HEAD.size)
            layout = Layout(*_SIZES.unpack_from(encoded, at))
        except (InvalidDigest, struct.error) as error:
            raise Corrupt("metainfo has no digest or sizes") from error
        except Misuse as error:
            raise Corrupt("metainfo has an impossible layout", **error.details) from error
        at += _SIZES.size
        if len(encoded) - at != layout.count * HASH_BYTES:
            raise Corrupt("metainfo needs one hash per piece", pieces=layout.count)
        hashes = (encoded[at : at + HASH_BYTES] for at in range(at, len(encoded), HASH_BYTES))
        return cls(digest, layout, tuple(hashes))
