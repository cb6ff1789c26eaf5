"""What is known of a blob before its bytes: digest, size, piece length. It names the swarm.

    0       4     5        5+d      13+d           17+d
    +-------+-----+--------+--------+--------------+
    | magic | ver | digest |  size  | piece length |
    +-------+-----+--------+--------+--------------+

Integers are big-endian, unsigned; the digest is packed, in ``d`` bytes (kernel/digest.py). The
BLAKE3 of these bytes is the swarm's info hash: the piece hashes follow from the digest and so
need not be in it, and a swarm has its name before they are known.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from struct import Struct

from blake3 import blake3

from octopull.blob.layout import Layout
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest, Misuse

MAGIC = b"OPMI"
VERSION = 3
_HEAD = Struct(">4sB")
_SIZES = Struct(">QI")


@dataclass(frozen=True)
class Outline:
    """The digest of one blob, and where its pieces lie."""

    digest: Digest
    layout: Layout

    @cached_property
    def info_hash(self) -> str:
        """BLAKE3 of the encoded outline, 64 hexadecimal characters."""
        return blake3(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The bytes drawn above."""
        head = _HEAD.pack(MAGIC, VERSION) + self.digest.pack()
        return head + _SIZES.pack(self.layout.size, self.layout.piece_length)

    @classmethod
    def decode(cls, encoded: bytes) -> "tuple[Outline, int]":
        """The outline that ``encoded`` begins with, and where it ends.

        Raises:
            Corrupt: wrong magic or version, a digest of an unknown algorithm, or impossible
                lengths.

        """
        if len(encoded) < _HEAD.size:
            raise Corrupt("metainfo is cut short", bytes=len(encoded))
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
        return cls(digest, layout), at + _SIZES.size
