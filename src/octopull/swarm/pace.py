"""How fast pieces come, by which it is judged what is slow and how long news may wait."""

from dataclasses import dataclass

SHARE = 8
"""A piece that comes moves the mean by an eighth: links change in seconds, pieces vary more."""


@dataclass(slots=True)
class Pace:
    """The mean over the pieces that came lately."""

    piece_s: float = 0.0
    """From the request of a piece to its last byte, in seconds; 0 until one came."""

    def arrived(self, age_s: float) -> None:
        """A piece came ``age_s`` (seconds) after it was asked for."""
        self.piece_s += (age_s - self.piece_s) / SHARE if self.piece_s else age_s
