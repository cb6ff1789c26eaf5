"""A group of consensus members on virtual time, whose network and machines fail by a seed.

What must hold is checked after every event: one leader a term, one history for all, nothing lost
that was acknowledged, and reads that see it.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from octopull.consensus.events import (
    Apply,
    Asked,
    Command,
    Current,
    Event,
    Follow,
    Installed,
    Leaving,
    Promise,
    Proposed,
    Rebase,
    Received,
    Send,
    SendBook,
    Ticked,
    Write,
)
from octopull.consensus.limits import Limits
from octopull.consensus.log import Log
from octopull.consensus.member import Member, Promised
from octopull.consensus.messages import Entry

LIMITS = Limits(log_bytes_max=2_000, batch_bytes_max=600)


@dataclass
class Book:
    """What was applied, in order."""

    index: int = 0
    term: int = 0
    payloads: list[bytes] = field(default_factory=list[bytes])

    def copy(self) -> "Book":
        return Book(self.index, self.term, list(self.payloads))


@dataclass
class Disk:
    """What a member finds when it starts again."""

    promised: Promised | None = None
    log: Log = field(default_factory=Log)
    book: Book = field(default_factory=Book)


@dataclass
class Machine:
    """A member, while its process runs."""

    disk: Disk = field(default_factory=Disk)
    member: Member | None = None
    woken_at_s: float = -1.0
    stopped_until_s: float = 0.0
    life: int = 0
    pending: dict[int, bytes] = field(default_factory=dict[int, bytes])


class Group:
    """``size`` machines; ``run`` lets time pass, ``mischief`` harms them."""

    def __init__(self, size: int, seed: int, *, founders: Sequence[str] = ()) -> None:
        self.random = Random(seed)
        self.names = [f"m{number}" for number in range(size)]
        self.machines = {name: Machine() for name in self.names}
        self.now = 0.0
        self.lost = 0.1
        self.books = True
        """Whether books that are sent arrive."""
        self.cut: set[frozenset[str]] = set()
        self.history: list[tuple[int, bytes]] = []
        self.acknowledged: set[bytes] = set()
        self.leaders: dict[int, str] = {}
        self.reads: dict[int, set[bytes]] = {}
        self.reads_seen = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._number = 0
        for name in founders:
            self.machines[name].disk.book = Book(1, 0, [f"of {name}".encode()])
            self.machines[name].disk.log = Log(1, 0)
            self.machines[name].disk.promised = Promised()
            self.history = [(0, f"of {name}".encode())]
        self.sent = 0
        for name in self.names:
            self.start(name)

    # Machines.

    def start(self, name: str) -> None:
        machine = self.machines[name]
        disk = machine.disk
        if disk.promised is None:
            disk.promised = Promised(birth=self.random.randrange(1, 1 << 30))
        kept = disk.promised
        log = Log(disk.log.base_index, disk.log.base_term, list(disk.log.entries))
        if log.last_index < disk.book.index:
            log = Log(disk.book.index, disk.book.term)
        others = [other for other in self.names if other != name]
        machine.member = Member(
            name, others, Promised(kept.term, kept.voted_for, kept.birth), log,
            self.random.random, LIMITS, commit=disk.book.index,
        )  # fmt: skip
        machine.life += 1
        self._tell(name, Ticked())

    def kill(self, name: str, *, wipe: bool = False) -> None:
        machine = self.machines[name]
        machine.member, machine.pending = None, {}
        if wipe:
            machine.disk = Disk()

    def leave(self, name: str) -> None:
        """Tell it that it is about to end."""
        self._tell(name, Leaving())

    def stop(self, name: str, seconds: float) -> None:
        """Nothing happens there for so long; then everything."""
        self.machines[name].stopped_until_s = self.now + seconds

    def isolate(self, names: Sequence[str]) -> None:
        """Cut these off from the others."""
        self.cut = {
            frozenset((one, other)) for one in names for other in self.names if other not in names
        }

    def may_be_wiped(self, name: str) -> bool:
        """Whether no other has lost its disk lately, so that none has the only copy."""
        return all(
            one.disk.promised is not None and one.disk.promised.birth == 0
            for other, one in self.machines.items()
            if other != name
        )

    # Time.

    def run(self, until_s: float) -> None:
        while self._queue and self._queue[0][0] <= until_s:
            self.now, _, happen = heapq.heappop(self._queue)
            happen()
        self.now = until_s

    def at(self, when_s: float, happen: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (when_s, self._sequence, happen))

    def _tell(self, name: str, event: Event) -> None:
        machine = self.machines[name]
        if machine.member is None:
            return
        if machine.stopped_until_s > self.now:
            self.at(machine.stopped_until_s, lambda: self._tell(name, event))
            return
        if isinstance(event, Asked | Proposed) and not machine.member.ready:
            return
        commands = machine.member.handle(event, self.now)
        machine.member.validate()
        for command in commands:
            self._carry_out(name, machine, command)
        self._wake(name, machine)

    def _wake(self, name: str, machine: Machine) -> None:
        assert machine.member is not None
        due_s, life = max(machine.member.wake_at_s, self.now + 0.001), machine.life
        if machine.woken_at_s == due_s:
            return
        machine.woken_at_s = due_s

        def tick() -> None:
            if machine.life == life and machine.woken_at_s == due_s:
                machine.woken_at_s = -1.0
                self._tell(name, Ticked())

        self.at(due_s, tick)

    # Commands.

    def _carry_out(self, name: str, machine: Machine, command: Command) -> None:
        disk = machine.disk
        match command:
            case Promise(term, voted_for, birth):
                disk.promised = Promised(term, voted_for, birth)
            case Write(after, entries):
                disk.log.replace(after, entries)
                if machine.member is not None and machine.member.leads is not None:
                    for offset, entry in enumerate(entries):
                        machine.pending[after + offset + 1] = entry.payload
            case Rebase(index, term, keep):
                if not keep:
                    disk.log = Log(index, term)
                else:
                    disk.log.forget(index)
            case Apply(index, entries):
                self._apply(machine, index, entries)
            case Send(peer, message):
                self.sent += 1
                self._deliver(name, peer, Received(name, message))
            case SendBook(peer):
                assert machine.member is not None
                self._send_book(name, peer, machine.member.promised.term, disk.book.copy())
            case Current(read):
                seen = set(disk.book.payloads)
                assert self.reads.pop(read) <= seen, "a read missed what was acknowledged"
                self.reads_seen += 1
            case Follow(leader, term):
                machine.pending = {}
                if leader == name:
                    assert self.leaders.setdefault(term, name) == name, "two lead one term"

    def _apply(self, machine: Machine, index: int, entries: tuple[Entry, ...]) -> None:
        book = machine.disk.book
        first = index - len(entries) + 1
        assert first == book.index + 1
        for number, entry in enumerate(entries, first):
            told = entry.term, entry.payload
            if number > len(self.history):
                self.history.append(told)
            assert self.history[number - 1] == told, "two histories"
            book.payloads.append(entry.payload)
            book.index, book.term = number, entry.term
            if number in machine.pending and machine.pending.pop(number):
                self.acknowledged.add(entry.payload)

    def _deliver(self, name: str, peer: str, event: Event) -> None:
        for _ in range(1 + (self.random.random() < 0.02)):
            if self.random.random() < self.lost or frozenset((name, peer)) in self.cut:
                continue
            delay_s = self.random.expovariate(1 / 0.01)
            if self.random.random() < 0.01:
                delay_s += self.random.random() * 3
            self.at(self.now + delay_s, lambda: self._tell(peer, event))

    def _send_book(self, name: str, peer: str, term: int, book: Book) -> None:
        def arrive() -> None:
            machine = self.machines[peer]
            if machine.stopped_until_s > self.now:
                self.at(machine.stopped_until_s, arrive)
                return
            if machine.member is None or not machine.member.wants_book(term, book.index):
                return
            machine.disk.book = book.copy()
            self._tell(peer, Installed(name, term, book.index, book.term))

        if self.books and frozenset((name, peer)) not in self.cut:
            self.at(self.now + self.random.random(), arrive)

    # Clients.

    def leader(self) -> str | None:
        """Somebody who leads, or thinks so."""
        leading = [name for name in self.names if self._is_ready(name)]
        return self.random.choice(leading) if leading else None

    def _is_ready(self, name: str) -> bool:
        member = self.machines[name].member
        return member is not None and member.ready

    def propose(self) -> None:
        if (name := self.leader()) is not None:
            self._number += 1
            self._tell(name, Proposed(b"p%d" % self._number))

    def read(self) -> None:
        if (name := self.leader()) is not None:
            self._number += 1
            self.reads[self._number] = set(self.acknowledged)
            self._tell(name, Asked(self._number))
