"""Sets of pieces as Python integers: bit ``i`` is piece ``i``.

An integer of 4,096 bits is combined in a microsecond, which no set of Python
objects approaches; wanted is ``theirs & ~ours & ~busy``.
"""

from collections.abc import Iterable, Iterator

from octopull.kernel.errors import PeerFault


def full(count: int) -> int:
    """All of ``count`` pieces."""
    return (1 << count) - 1


def of(pieces: Iterable[int]) -> int:
    """The set of ``pieces``."""
    bits = 0
    for piece in pieces:
        bits |= 1 << piece
    return bits


def has(bits: int, piece: int) -> bool:
    """Whether ``piece`` is in ``bits``."""
    return bits >> piece & 1 == 1


def first(bits: int) -> int:
    """The lowest piece of a set that is not empty."""
    return (bits & -bits).bit_length() - 1


def pieces(bits: int) -> Iterator[int]:
    """Each piece of ``bits``, ascending."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def prefix(bits: int) -> int:
    """How many pieces from the first on are in ``bits`` without a gap."""
    return first(~bits)


def pack(bits: int, count: int) -> bytes:
    """``bits`` as ``ceil(count / 8)`` bytes, piece 0 in the lowest bit of the first."""
    return bits.to_bytes((count + 7) // 8, "little")


def unpack(packed: bytes, count: int) -> int:
    """The inverse of ``pack``.

    Raises:
        PeerFault: wrong length, or a bit beyond the last piece.

    """
    bits = int.from_bytes(packed, "little")
    if len(packed) != (count + 7) // 8 or bits >> count:
        raise PeerFault("bitfield does not fit the blob", bytes=len(packed), pieces=count)
    return bits
