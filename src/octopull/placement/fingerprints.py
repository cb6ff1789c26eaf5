"""Whether two nodes hold the same blobs, found out without naming them all.

Digests are parted by the first byte of their hash into ranges. Two nodes that hold the same
digests of a range have the same fingerprint of it, and need to name only those of the others.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from octopull.kernel.digest import Digest

RANGES = 256
_BYTES = 16


def range_of(digest: Digest) -> int:
    """Which of the ``RANGES`` the digest is in."""
    return int(digest.hex[:2], 16)


def shelf_of(number: int) -> str:
    """What the hexadecimal characters of all digests of a range begin with."""
    return f"{number:02x}"


def fingerprints(digests: Iterable[Digest]) -> list[str]:
    """One for each range, as 32 hexadecimal characters; their order and algorithms don't matter.

    A digest given twice cancels itself. Nobody is kept from making two sets of one fingerprint
    who can push at will: all that gains him is that his blobs are not compared.
    """
    sums = [0] * RANGES
    for digest in digests:
        mark = blake2b(str(digest).encode(), digest_size=_BYTES).digest()
        sums[range_of(digest)] ^= int.from_bytes(mark, "big")
    return [f"{one:0{2 * _BYTES}x}" for one in sums]


def differing(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """The ranges whose fingerprints are not the same."""
    return [number for number in range(RANGES) if ours[number] != theirs[number]]
