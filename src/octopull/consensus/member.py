"""One member of a group that agrees on a log: Raft, with trial votes, reads, and lost disks.

Told events with the time, it returns commands; it has no clock, chance, disk or network. What
the paper leaves to others is decided here: a member whose disk is empty has forgotten what it
promised, so it neither votes nor counts until it has all that was committed before it came
(``Joins``). Only where all are empty, or all but one, do they begin with what they have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from octopull.consensus.events import (
    Apply,
    Asked,
    Command,
    Event,
    Follow,
    Installed,
    Leaving,
    Promise,
    Proposed,
    Rebase,
    Received,
    Send,
    Ticked,
    Write,
)
from octopull.consensus.leadership import Leadership
from octopull.consensus.limits import Limits
from octopull.consensus.log import Log
from octopull.consensus.messages import (
    Append,
    Appended,
    Entry,
    Greeting,
    Joins,
    Message,
    TakeOver,
    VoteAsked,
    Voted,
)
from octopull.kernel.errors import Misuse


@dataclass(slots=True)
class Promised:
    """What a member must never forget: the newest term it heard of, and whom it gave its vote.

    ``birth`` is a number by chance, of one that does not count yet; else 0.
    """

    term: int = 0
    voted_for: str = ""
    birth: int = 0


@dataclass(slots=True)
class Member:
    """``name`` among ``others``; ``chance`` gives numbers in 0..1.

    Invariants, checked by ``validate``: what is applied is committed, and in the log or its base;
    who leads counts.
    """

    name: str
    others: Sequence[str]
    promised: Promised
    log: Log
    chance: Callable[[], float]
    limits: Limits = field(default_factory=Limits)
    commit: int = 0
    """Entries up to here are committed, and applied."""
    leader: str = ""
    leads: Leadership | None = None
    _now: float = 0.0
    _heard_s: float = -1e9
    _patience_s: float | None = None
    _trial: bool = False
    _votes: set[str] = field(default_factory=set[str])
    _met: dict[str, Greeting] = field(default_factory=dict[str, Greeting])
    _out: list[Command] = field(default_factory=list[Command])

    def __post_init__(self) -> None:
        self.commit = max(self.commit, self.log.base_index)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Apply one event at ``now`` (seconds, monotonic); return what follows, in order.

        Raises:
            Misuse: ``Proposed`` or ``Asked``, and this member does not lead.

        """
        self._now = now
        match event:
            case Received(peer, message):
                if peer in self.others:
                    self._received(peer, message)
            case Ticked():
                self._ticked()
            case Proposed(payload):
                self._write(self.log.last_index, [Entry(self._leading().term, payload)])
            case Asked(read):
                self._leading().ask(read)
            case Installed():
                self._installed(event)
            case Leaving():
                if self.leads is not None:
                    self.leads.ending = True
        self._lead()
        out, self._out = self._out, []
        return out

    @property
    def founding(self) -> bool:
        """Whether all that it has is a book from before there was a group."""
        return self.commit == 1 and self.log.term(1) == 0

    @property
    def wake_at_s(self) -> float:
        """When the next ``Ticked`` is due."""
        if self.leads is not None:
            return self.leads.due_s
        return self._now if self._patience_s is None else self._patience_s

    @property
    def ready(self) -> bool:
        """Whether it leads, has applied all that was committed before, and goes on."""
        return self._is_whole and self.leads is not None and not self.leads.ending

    @property
    def _is_whole(self) -> bool:
        return self.leads is not None and self.commit >= self.leads.begun_index

    def wants_book(self, term: int, index: int) -> bool:
        """Whether a book up to ``index`` from the leader of ``term`` would be news."""
        return not self._has_own_book and term >= self.promised.term and index > self.commit

    # Leading.

    def _leading(self) -> Leadership:
        if self.leads is None:
            raise Misuse("this member does not lead", leader=self.leader)
        return self.leads

    def _lead(self) -> None:
        if self.leads is not None:
            self._commit(self.leads.agreed_index())
            if self._is_whole:
                self._out.extend(self.leads.current())
            self._out.extend(self.leads.news(self.commit, self._now))
            if peer := self.leads.successor():
                self._send(peer, TakeOver(term=self.leads.term))

    # Time.

    def _ticked(self) -> None:
        if self.leads is not None:
            if not self.leads.is_heard(self._now):
                self._follow("")
        elif self._patience_s is None:
            self._wait()
        elif self._now >= self._patience_s:
            self._wait()
            if self.promised.birth or self.founding:
                self._greet()
            if not self.promised.birth:
                self._follow("")
                self._stand(trial=True)

    def _wait(self) -> None:
        short_s = self.limits.heartbeat_s if self.promised.birth else self.limits.election_s
        self._patience_s = self._now + short_s * (1 + self.chance())

    # Votes.

    def _stand(self, *, trial: bool, asked_to: bool = False) -> None:
        if not trial:
            self._promise(self.promised.term + 1, self.name)
        self._trial, self._votes = trial, {self.name}
        asked = VoteAsked(
            term=self.promised.term + trial, trial=trial, asked_to=asked_to,
            last_index=self.log.last_index, last_term=self.log.last_term,
        )  # fmt: skip
        self._out.extend(Send(peer, asked) for peer in self.others)
        self._count()

    def _count(self) -> None:
        if 2 * len(self._votes) <= len(self.others) + 1:
            return
        if self._trial:
            self._stand(trial=False)
            return
        self._votes, self.leader = set(), self.name
        term = self.promised.term
        self.leads = Leadership.begun(term, self.log, self.limits, self.others, self._now)
        self._out.append(Follow(self.name, term))
        self._write(self.log.last_index, [Entry(term, b"")])

    def _vote_asked(self, peer: str, asked: VoteAsked) -> None:
        silent_s = 0.0 if self.leads is not None else self._now - self._heard_s
        if self.leader and silent_s < self.limits.election_s and not asked.asked_to:
            return  # Who can't hear the leader must not unseat it (thesis, 4.2.3).
        if asked.term > self.promised.term and not asked.trial:
            self._promise(asked.term, "")
        fits = (asked.last_term, asked.last_index) >= (self.log.last_term, self.log.last_index)
        free = asked.trial or self.promised.voted_for in {"", peer}
        granted = fits and free and asked.term >= self.promised.term and self._may_vote(peer)
        if granted and not asked.trial:
            self._promise(asked.term, peer)
            self._wait()
        term = asked.term if granted else self.promised.term
        self._send(peer, Voted(term=term, granted=granted, trial=asked.trial))

    def _voted(self, peer: str, voted: Voted) -> None:
        expected = self.promised.term + self._trial
        if self._votes and voted.granted and (voted.term, voted.trial) == (expected, self._trial):
            self._votes.add(peer)
            self._count()

    def _asked_to_lead(self, peer: str, asked: TakeOver) -> None:
        led = self.leader == peer and asked.term == self.promised.term
        if led and not self.promised.birth:
            self._follow("")
            self._stand(trial=False, asked_to=True)

    def _promise(self, term: int, voted_for: str) -> None:
        if term > self.promised.term:
            self._votes = set()
            if self.leads is not None:
                self._follow("")
        self.promised.term, self.promised.voted_for = term, voted_for
        self._keep_promise()

    def _keep_promise(self) -> None:
        one = self.promised
        self._out.append(Promise(one.term, one.voted_for, one.birth))

    def _follow(self, leader: str) -> None:
        """Know ``leader`` for the one of this term; nobody, if it is empty."""
        self._votes = set()
        if leader != self.leader:
            self.leader, self.leads = leader, None
            self._out.append(Follow(leader, self.promised.term))
            self._wait()

    # Entries.

    def _append(self, peer: str, said: Append) -> None:
        if said.term < self.promised.term:
            self._answer(peer, said, matched=False, index=0)
            return
        self._led_by(peer, said.term)
        before, entries = said.before_index, said.entries
        if before < self.log.base_index:
            # What the book has was committed, so it is the same.
            known = min(self.log.base_index - before, len(entries))
            before, entries = before + known, entries[known:]
        elif (term := self.log.term(before)) != said.before_term:
            known = self.log.last_index if term is None else self.log.first_of_term(before) - 1
            # A leader has all that is committed.
            self._answer(peer, said, matched=False, index=max(known, self.commit))
            return
        self._take(before, entries)
        matched = max(before + len(entries), self.commit)
        self._commit(min(said.commit, matched))
        self._join(peer, said.joins, matched)
        self._answer(peer, said, matched=True, index=matched)

    def _led_by(self, peer: str, term: int) -> None:
        if term > self.promised.term:
            self._promise(term, "")
        self._follow(peer)
        self._heard_s = self._now
        self._wait()

    def _take(self, before: int, entries: Sequence[Entry]) -> None:
        for offset, entry in enumerate(entries):
            if self.log.term(before + offset + 1) != entry.term:
                self._write(before + offset, entries[offset:])
                return

    def _write(self, after: int, entries: Sequence[Entry]) -> None:
        self.log.replace(after, entries)
        self._out.append(Write(after, tuple(entries)))

    def _commit(self, index: int) -> None:
        if index <= self.commit:
            return
        self._out.append(Apply(index, tuple(self.log.between(self.commit, index))))
        self.commit = index
        if self.log.size > self.limits.log_bytes_max:
            half = (self.log.base_index + self.commit) // 2
            self.log.forget(half)
            self._out.append(Rebase(half, self.log.base_term, keep=True))

    def _join(self, leader: str, joins: Joins | None, matched: int) -> None:
        birth = self.promised.birth
        joined = joins is not None and joins.birth == birth and matched >= joins.index
        if birth and (joined or (matched > 0 and self._may_vote(leader))):
            self._counts_from_now()

    def _counts_from_now(self) -> None:
        self.promised.birth = 0
        self._keep_promise()
        self._wait()

    def _answer(self, peer: str, said: Append, *, matched: bool, index: int) -> None:
        answer = Appended(
            term=self.promised.term, matched=matched, index=index, round=said.round,
            birth=self.promised.birth,
        )  # fmt: skip
        self._send(peer, answer)

    def _installed(self, book: Installed) -> None:
        if not self.wants_book(book.term, book.index):
            return
        self._led_by(book.peer, book.term)
        keep = self.log.term(book.index) == book.entry_term
        self.log.reset(book.index, book.entry_term)
        self.commit = book.index
        self._out.append(Rebase(book.index, book.entry_term, keep=keep))

    # Those whose disks are empty.

    @property
    def _has_own_book(self) -> bool:
        """Whether nobody else can have that book: then others' logs do not follow it."""
        return self.founding and self.promised.term == 0

    def _greeting(self, birth: int, *, answer: bool) -> Greeting:
        return Greeting(
            term=self.promised.term, blank=self.log.last_index == 0,
            founding=self.founding, counts=not self.promised.birth, birth=birth,
            answer=answer,
        )  # fmt: skip

    def _greet(self) -> None:
        greeting = self._greeting(self.promised.birth, answer=False)
        self._out.extend(Send(peer, greeting) for peer in self.others)

    def _greeted(self, peer: str, greeting: Greeting) -> None:
        if not greeting.answer:
            self._send(peer, self._greeting(greeting.birth, answer=True))
        elif greeting.birth == self.promised.birth != 0:
            self._met[peer] = greeting
            blank = all(one.blank for one in self._met.values())
            if len(self._met) == len(self.others) and blank and self.log.last_index == 0:
                self._counts_from_now()

    def _may_vote(self, candidate: str) -> bool:
        """Who does not count yet may still follow the only one that has a book."""
        if not self.promised.birth:
            return True
        founder = self._met.get(candidate)
        rest = [met for peer, met in self._met.items() if peer != candidate]
        return (
            founder is not None and founder.founding and len(self._met) == len(self.others)
            and not any(one.counts and not one.blank for one in rest)
        )  # fmt: skip

    # Messages.

    def _received(self, peer: str, message: Message) -> None:
        match message:
            case Append() | VoteAsked() if self._has_own_book:
                pass
            case Append():
                self._append(peer, message)
            case VoteAsked():
                self._vote_asked(peer, message)
            case Greeting():
                self._greeted(peer, message)
            case TakeOver():
                self._asked_to_lead(peer, message)
            case Voted(granted=True):
                self._voted(peer, message)
            case Appended() | Voted() if message.term > self.promised.term:
                self._promise(message.term, "")
            case Appended() if self.leads is not None and message.term == self.leads.term:
                self.leads.appended(peer, message, self._now)
            case Appended() | Voted():
                pass

    def _send(self, peer: str, message: Message) -> None:
        self._out.append(Send(peer, message))

    def validate(self) -> None:
        """Assert the class invariants; on in tests, off in service."""
        assert self.log.base_index <= self.commit <= self.log.last_index
        assert self.leads is None or not self.promised.birth
        assert (self.leads is not None) == (self.leader == self.name)
