"""Whose body leaves next: a few at a time, those first that fewest have.

All bodies at once would share the link, and each arrive late; one by one they arrive as early as
they can and are passed on earlier. A few, so that one slow receiver does not idle the link.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

COMMON = 2
"""Holders from which on a piece is no rarer than others: if those that fewest have always went
first, whoever fell behind, and so lacks what is common, would be served last."""

Key = tuple[int, int]
"""A connection of the host: the number of its swarm, and its own in there."""


@dataclass(slots=True)
class _Line:
    """Those who wait for one piece; ``rank`` is how many have it, those on their way included."""

    rank: int
    place: int
    keys: list[Key] = field(default_factory=list[Key])


@dataclass(slots=True)
class Uplink:
    """The bodies that a host was ordered to send, over all its swarms.

    A body holds a slot until it has left, or for ``turn_s`` at most: who takes longer is slower
    than the link. Invariants, checked by ``validate``: over one connection at most one body is
    under way; ``waiting`` counts those in line.
    """

    slots: int
    turn_s: float = 0.25
    waiting: int = 0
    """Bodies that wait for their turn."""
    _lines: dict[tuple[int, int], _Line] = field(default_factory=dict[tuple[int, int], _Line])
    _turn_ends: dict[Key, float] = field(default_factory=dict[Key, float])
    _places: int = 0

    def order(self, key: Key, piece: int, rank: int) -> None:
        """``piece``, which ``rank`` peers hold as far as we know, shall leave over ``key``."""
        line = self._lines.get((key[0], piece))
        if line is None:
            self._places += 1
            line = self._lines[key[0], piece] = _Line(rank, self._places)
        line.rank = min(COMMON, max(line.rank, rank))
        line.keys.append(key)
        self.waiting += 1

    def begin(self, now: float) -> Iterator[tuple[Key, int]]:
        """Bodies to begin at ``now`` (seconds); each is under way from then on."""
        while self.waiting and self._slots_held(now) < self.slots:
            found = self._first()
            if found is None:
                return
            key, piece = found
            line = self._lines[key[0], piece]
            line.rank = min(COMMON, line.rank + 1)
            self._leave(key, piece)
            self._turn_ends[key] = now + self.turn_s
            yield found

    def _first(self) -> tuple[Key, int] | None:
        """The body whose turn it is: of the least spread piece, for whom waits longest for it."""
        best, least = None, (1 << 62, 0)
        for (_, piece), line in self._lines.items():
            if (line.rank, line.place) < least:
                for key in line.keys:
                    if key not in self._turn_ends:
                        best, least = (key, piece), (line.rank, line.place)
                        break
        return best

    def _slots_held(self, now: float) -> int:
        if len(self._turn_ends) < self.slots:
            return len(self._turn_ends)
        return sum(end > now for end in self._turn_ends.values())

    def next_turn(self, now: float) -> float | None:
        """When a slot becomes free at the latest, if any body waits for one."""
        if not self.waiting:
            return None
        return min((end for end in self._turn_ends.values() if end > now), default=None)

    def left(self, key: Key) -> None:
        """The body under way over ``key`` has left."""
        self._turn_ends.pop(key, None)

    def withdraw(self, key: Key, piece: int) -> bool:
        """Take back ``piece`` if it still waits; whether it did."""
        line = self._lines.get((key[0], piece))
        if line is None or key not in line.keys:
            return False
        self._leave(key, piece)
        return True

    def _leave(self, key: Key, piece: int) -> None:
        line = self._lines[key[0], piece]
        line.keys.remove(key)
        self.waiting -= 1
        if not line.keys:
            del self._lines[key[0], piece]

    def drop(self, key: Key) -> None:
        """The connection is gone."""
        for swarm, piece in list(self._lines):
            if swarm == key[0]:
                self.withdraw(key, piece)
        self._turn_ends.pop(key, None)

    def validate(self) -> None:
        """Assert the class invariants."""
        assert self.waiting == sum(len(line.keys) for line in self._lines.values())
        assert all(line.keys for line in self._lines.values())
