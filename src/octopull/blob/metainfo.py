"""Metainfo: what a peer must know to fetch a blob piece by piece and prove each one.

    0       4     5        37       45             49
    +-------+-----+--------+--------+--------------+---------------+
    | magic | ver | sha256 |  size  | piece length | piece hashes  |
    +-------+-----+--------+--------+--------------+---------------+

Integers are big-endian, unsigned. The BLAKE3 of these bytes is the swarm's info hash.
"""

from dataclasses import dataclass
from functools import cached_property
from struct import Struct

from blake3 import blake3

from octopull.blob.hashing import HASH_BYTES
from octopull.blob.layout import Layout
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Misuse

MAGIC = b"OPMI"
VERSION = 1
_HEAD = Struct(">4sB32sQI")
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
        digest = bytes.fromhex(self.digest.hex)
        head = _HEAD.pack(MAGIC, VERSION, digest, self.layout.size, self.layout.piece_length)
        return head + b"".join(self.piece_hashes)

    @classmethod
    def decode(cls, encoded: bytes) -> "Metainfo":
        """The inverse of ``encode``.

        Raises:
            Corrupt: wrong magic or version, impossible lengths, or too few or too many hashes.

        """
        if not _HEAD.size <= len(encoded) <= METAINFO_BYTES_MAX:
            raise Corrupt("metainfo has an impossible length", bytes=len(encoded))
        magic, version, digest, size, piece_length = _HEAD.unpack_from(encoded)
        if (magic, version) != (MAGIC, VERSION):
            raise Corrupt("not metainfo of a known version", version=version)
        try:
            layout = Layout(size, piece_length)
        except Misuse as error:
            raise Corrupt("metainfo has an impossible layout", **error.details) from error
        if len(encoded) - _HEAD.size != layout.count * HASH_BYTES:
            raise Corrupt("metainfo needs one hash per piece", pieces=layout.count)
        hashes = tuple(
            encoded[at : at + HASH_BYTES] for at in range(_HEAD.size, len(encoded), HASH_BYTES)
        )
        return cls(Digest(digest.hex()), layout, hashes)
