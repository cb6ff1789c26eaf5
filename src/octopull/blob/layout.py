"""Where pieces lie within a blob: piece numbers to byte ranges and back."""

from dataclasses import dataclass

from octopull.kernel.errors import Misuse
from octopull.kernel.units import GIB, KIB, MIB

LEAF_BYTES = 256 * KIB
"""What one leaf hash covers, and the shortest piece."""

PIECE_BYTES_MAX = 16 * MIB

_LENGTHS = (
    (128 * MIB, 256 * KIB),
    (512 * MIB, 512 * KIB),
    (2 * GIB, MIB),
    (8 * GIB, 2 * MIB),
    (32 * GIB, 4 * MIB),
    (128 * GIB, 8 * MIB),
)


def piece_length_for(size: int) -> int:
    """The piece length (bytes, a power of two) for a blob of ``size`` bytes.

    Enough pieces to spread over many peers, few enough that telling who has which
    stays cheap: 512 to 16,384 pieces from 128 MiB to 128 GiB.
    """
    return next((length for limit, length in _LENGTHS if size <= limit), PIECE_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Layout:
    """A blob of ``size`` bytes cut into pieces of ``piece_length``; the last may be short."""

    size: int
    piece_length: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise Misuse("a blob has no negative size", size=self.size)
        length = self.piece_length
        if not LEAF_BYTES <= length <= PIECE_BYTES_MAX or length & (length - 1):
            raise Misuse("piece length must be a power of two in range", piece_length=length)

    @property
    def count(self) -> int:
        """Number of pieces; an empty blob has none."""
        return -(-self.size // self.piece_length)

    def span(self, piece: int) -> tuple[int, int]:
        """Offset and length in bytes of ``piece``.

        Raises:
            Misuse: no such piece.

        """
        if not 0 <= piece < self.count:
            raise Misuse("no such piece", piece=piece, count=self.count)
        start = piece * self.piece_length
        return start, min(self.piece_length, self.size - start)

    def piece_at(self, offset: int) -> int:
        """The piece that holds byte ``offset``, which must lie within the blob."""
        if not 0 <= offset < self.size:
            raise Misuse("offset lies outside the blob", offset=offset, size=self.size)
        return offset // self.piece_length

    def prefix_bytes(self, pieces: int) -> int:
        """Bytes that the first ``pieces`` pieces make."""
        return min(pieces * self.piece_length, self.size)
