"""Chance that repeats: the core rolls no dice of its own, it is given a seed."""

_MASK = (1 << 64) - 1


class Chance:
    """Numbers that look random and follow from the seed (SplitMix64, Steele et al. 2014)."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def below(self, bound: int) -> int:
        """A number in 0..bound-1; ``bound`` is positive and far below 2**64."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ (mixed >> 31)) % bound
