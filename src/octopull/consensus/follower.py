"""What a leader knows of one of the others."""

from dataclasses import dataclass


@dataclass(slots=True)
class Follower:
    """One of the others, as its leader sees it; times are of the core's clock, in seconds.

    Invariant: ``matched < next_index``.
    """

    next_index: int
    """Of the entry to be sent next."""

    heard_s: float
    """When it last answered."""

    matched: int = 0
    """Up to here its log is known to be the leader's."""

    round: int = 0
    """The newest one that it has answered."""

    sent_index: int = 0
    waiting_until_s: float = 0.0
    """It was sent entries up to the index, or the book, and until then nothing more is."""

    due_s: float = 0.0
    """It must hear of the leader by then."""

    birth: int = 0
    """Not 0: it does not count yet."""

    joins_round: int = 0
    joins_index: int = 0
    """Once the round is confirmed, what it lacked when it came is known to be up to the index."""
