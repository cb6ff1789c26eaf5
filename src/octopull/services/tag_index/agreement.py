"""One tag index among those that share a book: the shell of ``consensus.member``.

The member decides; here its decisions are carried out, in order: what it promises and writes is
on disk before anything is sent, and what is committed is in the book before anybody is told.
Whoever changes the book (``Database.transaction``) does so on the member that leads, and waits.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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
from octopull.consensus.member import Member
from octopull.consensus.messages import Entry, Greeting, Message
from octopull.kernel.errors import Fault, TooLarge, Unavailable
from octopull.observability import logs
from octopull.runtime.tasks import happens
from octopull.services.tag_index import statements
from octopull.services.tag_index.database import Applied, Database
from octopull.services.tag_index.outbox import ENTRY_BYTES_MAX, Outbox
from octopull.services.tag_index.statements import Change
from octopull.services.tag_index.waiting import NOBODY, Rounds, fail, settle
from octopull.storage.group_log import GroupLog, Kept

T = TypeVar("T")
log = logs.get("tag_index")
INBOX_MAX = 10_000
CURRENT_S = 5.0
"""A majority answers within milliseconds, unless it is none, or a disk hangs."""

CHANGE_S = 30.0
HAND_OVER_S = 3.0
"""For two round trips and three syncs of disks, however busy; after that, an election is as quick."""

AGAIN_S = 1.0
"""After the disk failed, until it is tried again."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change, rehearsed on what was applied up to ``index``; ``done`` once it is applied."""

    payload: bytes
    index: int
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A book came from ``peer``, which leads ``term``; ``done`` once it was taken or refused."""

    peer: str
    term: int
    path: Path
    until: Applied
    done: asyncio.Future[None]


class Agreement:
    """``name`` among ``others``, all ``host:port``; ``run`` must run."""

    def __init__(
        self, name: str, others: Sequence[str], database: Database, kept: GroupLog, outbox: Outbox
    ) -> None:
        self.name = name
        self.others = others
        self._database = database
        self._log = kept
        self._outbox = outbox
        self._inbox: deque[Event | Proposal | Arrived] = deque()
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # Of its own: those that wait for a change here may have taken all threads of the loop.
        self._disk = ThreadPoolExecutor(1, "agreement")
        self._pending: dict[int, asyncio.Future[None]] = {}
        self._reads = Rounds(lambda number: self._tell(Asked(number)))
        self._member = self._found_member()
        self._changed = asyncio.Condition()
        self._led: dict[asyncio.Timeout, str] = {}
        self._ended = False
        self._serves_term = -1
        database.share(self._replicate)

    def _found_member(self) -> Member:
        applied = self._database.applied()
        founding = applied.index == 0 and not self._database.empty
        if founding:
            self._database.found()
            applied = self._database.applied()
        promised, kept = self._log.load(applied.index, applied.term, founding=founding)
        return Member(self.name, self.others, promised, kept, random.random, commit=applied.index)

    # Who leads.

    @property
    def leads(self) -> bool:
        """Whether this one leads, and its book is whole."""
        return self._member.ready

    @property
    def counts(self) -> bool:
        """Whether this one may vote: its disk has all that it ever promised to keep."""
        return not self._member.promised.birth

    @property
    def serves(self) -> bool:
        """Whether this one leads and has taken over, so that others' requests are its to answer."""
        return self.leads and self._serves_term == self._member.promised.term

    async def serve(self, term: int) -> None:
        """What was done before ``term`` is taken over."""
        self._serves_term = term
        await self._notify()

    @property
    def leader(self) -> str:
        """The one that leads, as far as is known here; empty if nobody does."""
        return self._member.leader

    async def until(self, *, leads: bool, but: int = -1) -> int:
        """Wait until this one leads, or does no more, or in another term than ``but``; the term."""

        def holds() -> bool:
            return self.leads is leads or -1 != but != self._member.promised.term

        async with self._changed:
            await self._changed.wait_for(holds)
            return self._member.promised.term

    async def settled(self, within_s: float) -> str:
        """Who leads, once it can be asked.

        Raises:
            Unavailable: nobody, after ``within_s``.

        """
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: self.is_settled)
        except TimeoutError:
            raise Unavailable(NOBODY, public=NOBODY) from None
        return self.leader

    @property
    def is_settled(self) -> bool:
        """Whether somebody leads who can be asked."""
        return self.serves or self.leader not in {"", self.name}

    @contextmanager
    def while_led_by(self, leader: str, timeout: asyncio.Timeout) -> Iterator[None]:
        """Have ``timeout`` expire as soon as ``leader`` leads no more.

        Raises:
            Unavailable: it does not lead.

        """
        if self.leader != leader:
            raise Unavailable(NOBODY, public=NOBODY)
        self._led[timeout] = leader
        try:
            yield
        finally:
            del self._led[timeout]

    async def current(self) -> None:
        """Wait until the book has all that was committed before, anywhere.

        Raises:
            Unavailable: this one does not lead, or does no more.

        """
        if not self.leads or self._ended:
            raise Unavailable(NOBODY, public=NOBODY)
        try:
            async with asyncio.timeout(CURRENT_S):
                await asyncio.shield(self._reads.join())
        except TimeoutError:
            raise Unavailable(NOBODY, public=NOBODY) from None

    async def hand_over(self) -> None:
        """Have another lead, as this one is about to end; whether or not that is done in time."""
        self._tell(Leaving())
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_S), self._changed:
                await self._changed.wait_for(lambda: self.leader not in {"", self.name})

    # What comes.

    def receive(self, peer: str, messages: Sequence[Message]) -> None:
        """``peer`` says ``messages``; too many at once get lost."""
        for message in messages[: max(0, INBOX_MAX - len(self._inbox))]:
            self._tell(Received(peer, message))

    async def take_book(self, peer: str, term: int, path: Path, until: Applied) -> None:
        """A whole book came from ``peer``, which leads ``term``."""
        arrived = Arrived(peer, term, path, until, self._loop.create_future())
        self._tell(arrived)
        await arrived.done

    def wants_book(self, term: int, index: int) -> bool:
        """Whether a book up to ``index`` is worth sending here."""
        return self._member.wants_book(term, index)

    def _replicate(self, change: Change, index: int) -> None:
        async def propose() -> None:
            if self._ended:
                raise Unavailable(NOBODY, public=NOBODY)
            done: asyncio.Future[None] = self._loop.create_future()
            self._tell(Proposal(payload, index, done))
            async with asyncio.timeout(CHANGE_S):
                await done

        payload = statements.encode(change)
        if len(payload) > ENTRY_BYTES_MAX:
            raise TooLarge("that is more than tag indexes agree on at once", most=ENTRY_BYTES_MAX)
        try:
            asyncio.run_coroutine_threadsafe(propose(), self._loop).result()
        except TimeoutError:
            # What comes next is rehearsed on this, or not at all (``_propose``).
            raise Unavailable("the change may count, or not", public=NOBODY) from None

    def _tell(self, event: Event | Proposal | Arrived) -> None:
        self._inbox.append(event)
        self._news.set()

    # The loop.

    async def run(self) -> None:
        """Take part, until cancelled."""
        try:
            while True:
                try:
                    await self._live()
                except Exception as error:
                    # What is on disk is all that may be believed now.
                    log.exception("agreement.failed", reason=str(error))
                    await self._begin_again(str(error))
        finally:
            self._ended = True
            await self._lose("this tag index ends")
            self._disk.shutdown()

    async def _begin_again(self, reason: str) -> None:
        """Take part no more, until the disk can be read again."""
        self._member.leads, self._member.leader = None, ""
        while True:
            await self._lose(reason)
            await asyncio.sleep(AGAIN_S)
            try:
                self._member = await self._on_disk(self._found_member)
                break
            except Fault as fault:
                log.warning("agreement.not_begun", reason=str(fault))
        await self._notify()

    async def _live(self) -> None:
        while True:
            now = time.monotonic()
            if now >= self._member.wake_at_s:
                await self._handle(Ticked(), now)
            elif self._inbox:
                await self._take(self._inbox.popleft(), now)
            else:
                self._news.clear()
                await happens(self._news, self._member.wake_at_s - now)

    async def _take(self, news: Event | Proposal | Arrived, now: float) -> None:
        match news:
            case Proposal():
                await self._propose(news, now)
            case Arrived():
                try:
                    await self._install(news)
                finally:
                    settle(news.done)
            case Asked() if not self._member.ready:
                self._reads.fail(NOBODY)
            case Received(peer, Greeting(founding=True)) if self._member.founding:
                log.error("agreement.two_books", peer=peer, hint="two tag indexes had a book before"
                          " they became several: empty the data folder of one")  # fmt: skip
                await self._handle(news, now)
            case _:
                await self._handle(news, now)

    async def _propose(self, proposal: Proposal, now: float) -> None:
        member = self._member
        if not member.ready or not proposal.index == member.commit == member.log.last_index:
            fail(proposal.done, "another tag index leads by now")
            return
        self._pending[proposal.index + 1] = proposal.done
        await self._handle(Proposed(proposal.payload), now)

    async def _install(self, book: Arrived) -> None:
        if not self._member.wants_book(book.term, book.until.index):
            return
        until = await self._on_disk(lambda: self._database.replace(book.path, book.until))
        log.info("agreement.book_taken", peer=book.peer, index=until.index)
        installed = Installed(book.peer, book.term, until.index, until.term)
        await self._handle(installed, time.monotonic())

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._disk, work)

    # What the member orders.

    async def _handle(self, event: Event, now: float) -> None:
        led = self._member.ready, self._member.leader
        kept: list[Kept] = []
        for command in self._member.handle(event, now):
            if isinstance(command, Promise | Write | Rebase):
                kept.append(command)
                continue
            await self._keep(kept)
            await self._carry_out(command)
        await self._keep(kept)
        if led != (self._member.ready, self._member.leader):
            await self._notify()

    async def _keep(self, kept: list[Kept]) -> None:
        if kept:
            commands = kept.copy()
            kept.clear()
            await self._on_disk(lambda: self._log.carry_out(commands))

    async def _carry_out(self, command: Command) -> None:
        match command:
            case Apply(index, entries):
                await self._apply(index, entries)
            case Send(peer, message):
                self._outbox.put(peer, message)
            case SendBook(peer):
                self._outbox.send_book(peer, self._member.promised.term, self._database)
            case Current(read):
                self._reads.answered(read)
            case Follow(leader, term):
                log.info("agreement.led", leader=leader or "nobody", term=term)
                if leader != self.name:
                    self._fail_all("another tag index leads by now")
            case _:
                pass

    async def _apply(self, index: int, entries: Sequence[Entry]) -> None:
        changes = [statements.decode(entry.payload) for entry in entries]
        until = Applied(index, entries[-1].term)
        await self._on_disk(lambda: self._database.apply(changes, until))
        for number in range(index - len(entries) + 1, index + 1):
            settle(self._pending.pop(number, None))

    # Those that wait.

    async def _notify(self) -> None:
        for timeout, leader in self._led.items():
            if leader != self.leader and not timeout.expired():
                timeout.reschedule(self._loop.time())
        async with self._changed:
            self._changed.notify_all()

    async def _lose(self, reason: str) -> None:
        self._fail_all(reason)
        inbox, self._inbox = self._inbox, deque()
        for news in inbox:
            if isinstance(news, Proposal | Arrived):
                fail(news.done, reason)
        await self._notify()

    def _fail_all(self, reason: str) -> None:
        for waiting in self._pending.values():
            fail(waiting, reason)
        self._pending.clear()
        self._reads.fail(reason)
