"""Metainfo: what a peer must know to fetch a blob piece by piece and prove each one.

    +---------+--------------+
    | outline | piece hashes |    32 bytes each, one per piece (blob/outline.py)
    +---------+--------------+

Of a blob that its origin is still fetching, the hashes are known from the first piece on as far
as the bytes have come. Then it grows:

    +---------+-------+--------------+
    | outline | first | piece hashes |    those from ``first`` on that are known by now
    +---------+-------+--------------+
"""

from dataclasses import dataclass
from functools import cached_property
from struct import Struct

from octopull.blob.hashing import HASH_BYTES, LeafHasher
from octopull.blob.layout import Layout, piece_length_for
from octopull.blob.outline import Outline
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Misuse

METAINFO_BYTES_MAX = 64 * 1024 * 1024
_FIRST = Struct(">I")


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
    def outline(self) -> Outline:
        """All but the hashes."""
        return Outline(self.digest, self.layout)

    @property
    def info_hash(self) -> str:
        """The outline's, 64 hexadecimal characters."""
        return self.outline.info_hash

    def encode(self) -> bytes:
        """The bytes drawn above."""
        return self.outline.encode() + b"".join(self.piece_hashes)

    @classmethod
    def decode(cls, encoded: bytes) -> "Metainfo":
        """The inverse of ``encode``.

        Raises:
            Corrupt: as ``Outline.decode``, or too few or too many hashes.

        """
        outline, at = Outline.decode(_bounded(encoded))
        if len(encoded) - at != outline.layout.count * HASH_BYTES:
            raise Corrupt("metainfo needs one hash per piece", pieces=outline.layout.count)
        return cls(outline.digest, outline.layout, _hashes(encoded, at))


@dataclass(frozen=True, slots=True)
class Growing:
    """Hashes of the pieces of ``outline`` from ``first`` on, as far as they are known."""

    outline: Outline
    first: int
    piece_hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.known <= self.outline.layout.count:
            raise Misuse("hashes of pieces that do not exist", first=self.first, known=self.known)

    @property
    def digest(self) -> Digest:
        """The blob's."""
        return self.outline.digest

    @property
    def known(self) -> int:
        """Pieces whose hashes are known with these, counted from the blob's first."""
        return self.first + len(self.piece_hashes)

    def encode(self) -> bytes:
        """The bytes drawn above."""
        return self.outline.encode() + _FIRST.pack(self.first) + b"".join(self.piece_hashes)

    @classmethod
    def decode(cls, encoded: bytes) -> "Growing":
        """The inverse of ``encode``.

        Raises:
            Corrupt: as ``Outline.decode``, or hashes of pieces that do not exist.

        """
        outline, at = Outline.decode(_bounded(encoded))
        if len(encoded) < at + _FIRST.size or (len(encoded) - at - _FIRST.size) % HASH_BYTES:
            raise Corrupt("a growing metainfo is cut short", bytes=len(encoded))
        (first,) = _FIRST.unpack_from(encoded, at)
        try:
            return cls(outline, first, _hashes(encoded, at + _FIRST.size))
        except Misuse as error:
            raise Corrupt(str(error), **error.details) from error


def _bounded(encoded: bytes) -> bytes:
    if len(encoded) > METAINFO_BYTES_MAX:
        raise Corrupt("metainfo has an impossible length", bytes=len(encoded))
    return encoded


def _hashes(encoded: bytes, at: int) -> tuple[bytes, ...]:
    return tuple(encoded[at : at + HASH_BYTES] for at in range(at, len(encoded), HASH_BYTES))


def describe(digest: Digest, size: int, hasher: LeafHasher) -> Metainfo:
    """Metainfo of a blob of ``size`` bytes, all of which went through ``hasher``."""
    layout = Layout(size, piece_length_for(size))
    return Metainfo(digest, layout, hasher.piece_hashes(layout.piece_length))
