"""Whose body leaves next: a few at a time, those first that fewest have.

All bodies at once would share the link, and each arrive late; one by one they arrive as early as
they can and are passed on earlier. A few, so that one slow receiver does not idle the link.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

COMMON = 4
"""Holders from which on a piece is no rarer than others: if those that fewest have always went
first, whoever fell behind, and so lacks what is common, would be served last."""

TURN_SHARES = 2.0
"""A turn lasts twice as long as the link needs for a body in every slot: bodies that share it do
not end all at once."""

SLOWER = 1.02
"""What the link is thought to need for a byte grows by so much with each body that needed more: a
measure taken while others were served well is forgotten within some fifty bodies."""

MEASURED_BYTES_MIN = 256 * 1024
"""A smaller body may have left us and still be in the kernel's buffers, most of it."""

Key = tuple[int, int]
"""A connection of the host: the number of its swarm, and its own in there."""


@dataclass(slots=True)
class _Line:
    """Those who wait for one piece; ``rank`` is how many have it, those on their way included."""

    rank: int
    place: int
    length: int
    keys: list[Key] = field(default_factory=list[Key])


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A body under way: of so many bytes, begun when the shared clock showed ``began_at``."""

    length: int
    began_at: float
    turn_ends: float


@dataclass(slots=True)
class Uplink:
    """The bodies that a host was ordered to send, over all its swarms.

    A body holds a slot until it has left, or for a turn: who takes longer is slower than the link,
    which is judged by the body that went best lately. Invariants, checked by ``validate``: over
    one connection at most one body is under way; ``waiting`` counts those in line.
    """

    slots: int
    held: Callable[[Key], int]
    """How many pieces the peer of a connection holds, as far as we know."""
    turn_s: float = 0.25
    """How long a turn lasts until one body has left."""
    waiting: int = 0
    """Bodies that wait for their turn."""
    _lines: dict[tuple[int, int], _Line] = field(default_factory=dict[tuple[int, int], _Line])
    _leaving: dict[Key, _Leaving] = field(default_factory=dict[Key, _Leaving])
    _places: int = 0
    _shared_s: float = 0.0
    """A clock that runs slower the more bodies share the link: a body's time by it is what the
    body would have needed alone."""
    _read_at: float = 0.0
    _byte_s: float = 0.0
    """What the link needs for a byte, in seconds; 0 until a body has left."""

    def order(self, key: Key, piece: int, length: int, rank: int) -> None:
        """``piece`` of ``length`` bytes, which ``rank`` peers hold as far as we know, shall leave
        over ``key``.
        """
        line = self._lines.get((key[0], piece))
        if line is None:
            self._places += 1
            line = self._lines[key[0], piece] = _Line(rank, self._places, length)
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
            self._read_clock(now)
            turn_ends = now + self._turn_s(line.length)
            self._leaving[key] = _Leaving(line.length, self._shared_s, turn_ends)
            yield found

    def _read_clock(self, now: float) -> None:
        """To be done before the number of bodies under way changes."""
        if self._leaving:
            self._shared_s += (now - self._read_at) / len(self._leaving)
        self._read_at = now

    def _turn_s(self, length: int) -> float:
        if not self._byte_s:
            return self.turn_s
        return TURN_SHARES * self.slots * length * self._byte_s

    def _first(self) -> tuple[Key, int] | None:
        """The body whose turn it is: of the least spread piece, for whom has least; pieces that are
        common leave in the order of asking.
        """
        best, least = None, (1 << 62, 0, 0)
        for (_, piece), line in self._lines.items():
            if line.rank <= least[0] and (key := self._neediest(line)) is not None:
                held = self.held(key) if line.rank < COMMON else 0
                if (line.rank, held, line.place) < least:
                    best, least = (key, piece), (line.rank, held, line.place)
        return best

    def _neediest(self, line: _Line) -> Key | None:
        """Who gets the piece next, of those whose connection is free."""
        free = (key for key in line.keys if key not in self._leaving)
        return min(free, key=self.held, default=None) if line.rank < COMMON else next(free, None)

    def _slots_held(self, now: float) -> int:
        if len(self._leaving) < self.slots:
            return len(self._leaving)
        return sum(body.turn_ends > now for body in self._leaving.values())

    def next_turn(self, now: float) -> float | None:
        """When a slot becomes free at the latest, if any body waits for one."""
        if not self.waiting:
            return None
        ends = [body.turn_ends for body in self._leaving.values()]
        return min((end for end in ends if end > now), default=None)

    def left(self, key: Key, now: float) -> None:
        """The body under way over ``key`` has left."""
        body = self._leaving.get(key)
        self.stopped(key, now)
        if body is not None and body.length >= MEASURED_BYTES_MIN:
            byte_s = (self._shared_s - body.began_at) / body.length
            self._byte_s = min(byte_s, self._byte_s * SLOWER) if self._byte_s else byte_s

    def stopped(self, key: Key, now: float) -> None:
        """The body under way over ``key``, if there is one, will not leave, or not as it should."""
        self._read_clock(now)
        self._leaving.pop(key, None)

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

    def drop(self, key: Key, now: float) -> None:
        """The connection is gone."""
        self.stopped(key, now)
        for swarm, piece in list(self._lines):
            if swarm == key[0]:
                self.withdraw(key, piece)

    def validate(self) -> None:
        """Assert the class invariants."""
        assert self.waiting == sum(len(line.keys) for line in self._lines.values())
        assert all(line.keys for line in self._lines.values())
