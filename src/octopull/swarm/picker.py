"""Which piece to ask for: the rarest among those around us, chance between equals."""

from octopull.kernel import bitfield
from octopull.swarm.chance import Chance


class Picker:
    """How many connected peers hold each piece, as one set of pieces per count.

    Invariant: every piece is in exactly one of the sets. Sets are integers, so a whole
    bitfield is counted in one operation per count instead of one per piece.
    """

    __slots__ = ("_by_count", "_chance", "_pieces")

    def __init__(self, pieces: int, chance: Chance) -> None:
        self._pieces = pieces
        self._chance = chance
        self._by_count: list[int] = [bitfield.full(pieces)]

    def gained(self, bits: int) -> None:
        """One more peer holds each piece of ``bits``."""
        for count in reversed(range(len(self._by_count))):
            moved = self._by_count[count] & bits
            if moved:
                if count + 1 == len(self._by_count):
                    self._by_count.append(0)
                self._by_count[count] ^= moved
                self._by_count[count + 1] |= moved

    def lost(self, bits: int) -> None:
        """One peer fewer holds each piece of ``bits``; each was gained before."""
        for count in range(1, len(self._by_count)):
            moved = self._by_count[count] & bits
            if moved:
                self._by_count[count] ^= moved
                self._by_count[count - 1] |= moved
        while len(self._by_count) > 1 and not self._by_count[-1]:
            self._by_count.pop()

    def rarest(self, candidates: int) -> int | None:
        """One of the rarest pieces of ``candidates``, by chance; None if it is empty."""
        start = self._chance.below(self._pieces)
        return self.rarest_in_stretch(candidates, self._pieces, start)

    def rarest_in_stretch(self, candidates: int, length: int, start: int) -> int | None:
        """One of the rarest pieces of ``candidates``: in the first stretch of ``length`` pieces that
        has one, the first counted round from the stretch's piece ``start``.
        """
        for pieces in self._by_count:
            found = pieces & candidates
            if found:
                base = bitfield.first(found) // length * length
                behind = found >> (base + start) & bitfield.full(length - start)
                return base + start + bitfield.first(behind) if behind else bitfield.first(found)
        return None

    def around(self, candidates: int) -> int:
        """Those of ``candidates`` that some connected peer holds."""
        return candidates & ~self._by_count[0]

    @property
    def scarce(self) -> int:
        """Pieces that at most one connected peer holds."""
        counts = self._by_count
        return counts[0] | counts[1] if len(counts) > 1 else counts[0]

    def holders(self, piece: int) -> int:
        """How many connected peers hold ``piece``."""
        return next(n for n, pieces in enumerate(self._by_count) if bitfield.has(pieces, piece))

    def validate(self) -> None:
        """Assert the class invariant."""
        together = 0
        for pieces in self._by_count:
            assert together & pieces == 0
            together |= pieces
        assert together == bitfield.full(self._pieces)
