"""Which of two changes of a tag counts, in whatever order and however often they are heard of.

The later one does, by the time at which a client made it, wherever that was. A tag is thus a
register whose last writer wins: clusters that heard of the same changes agree, and a change that
comes back to where it was made changes nothing.
"""

from dataclasses import dataclass
from typing import Self

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse

TICK_S = 0.000_001
"""How much later a change is at least than the one it was made upon, whatever the clock says."""

AHEAD_S_MAX = 600.0
"""How far another cluster's clock may be ahead of ours: what it moves wins for so long."""


@dataclass(frozen=True, slots=True)
class Move:
    """A tag was let stand for ``digest``, or deleted (None), ``at`` (seconds since the epoch)."""

    digest: Digest | None
    at: float

    def counts_after(self, known: Self) -> bool:
        """Whether this takes the place of ``known``; of two of one time, the greater digest."""
        return self._order > known._order

    @property
    def _order(self) -> tuple[float, str]:
        return self.at, "" if self.digest is None else str(self.digest)


NEVER = Move(None, 0.0)
"""Of a tag that nobody is known to have moved."""


def made_at(now_s: float, known: Move) -> float:
    """When a change counts as made that a client makes now, who may know of ``known``."""
    return max(now_s, known.at + TICK_S)


def admitted(known: Move, digest: Digest | None, told: float | None, now_s: float) -> Move | None:
    """The move that a change makes: one of a client now, or (``told``) of another cluster then.

    None if ``known``, the last one here, is later, and stays.
    """
    if told is None:
        return Move(digest, made_at(now_s, known))
    move = Move(digest, told)
    if digest is not None and digest == known.digest:
        return Move(digest, max(told, known.at))
    return move if move.counts_after(known) else None


def along(known: Move, told: float | None, now_s: float) -> Move | None:
    """The deletion of a tag with the manifest that it stands for; arguments as for ``admitted``.

    Elsewhere the tag may have moved on before, as we have yet to hear: so it only follows upon
    what is known here. None if the tag was moved there later than the manifest was deleted.
    """
    if told is None:
        return Move(None, made_at(now_s, known))
    return Move(None, made_at(0.0, known)) if Move(None, told).counts_after(known) else None


def seen(known: Move, digest: Digest, now_s: float) -> float:
    """When a tag moved that another store has, as far as can be known: not since we know it."""
    return known.at if digest == known.digest else made_at(now_s, known)


def check_at(at: float, now_s: float) -> float:
    """``at`` itself, if a change heard of at ``now_s`` may have been made then.

    Raises:
        Misuse: no clock would be that wrong.

    """
    if not 0 < at <= now_s + AHEAD_S_MAX:
        raise Misuse("the clock of the cluster that tells of this is more than ten minutes ahead")
    return at
