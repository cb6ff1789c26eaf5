"""Carries out one swarm core's commands on real connections. It decides nothing."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from octopull.blob.outline import Outline
from octopull.kernel import bitfield
from octopull.kernel.errors import Fault
from octopull.kernel.peers import Peer
from octopull.observability import logs, metrics
from octopull.observability.journal import Journal
from octopull.runtime.bandwidth import Bandwidth
from octopull.swarm.engine import Engine
from octopull.swarm.events import (
    Announce,
    Arrived,
    Close,
    Command,
    Completed,
    Connected,
    Dial,
    Dialed,
    Disconnected,
    Event,
    GaveUp,
    Progressed,
    Received,
    Refused,
    Retired,
    Send,
    Serve,
    Served,
    Skip,
    Started,
    Take,
    Ticked,
    Verified,
    WakeAt,
    Withdraw,
)  # fmt: skip
from octopull.swarm.messages import Goodbye, Message, Reject
from octopull.transport.outgoing import Outgoing
from octopull.transport.places import Places
from octopull.transport.sending import Body
from octopull.transport.traffic import Traffic
from octopull.transport.wire import Wire

log = logs.get("transport")
PROGRESS_EVERY_S = 1.0
QUEUED_BYTES_MIN = 64 * 1024
"""Half a piece may wait in the kernel, and no less than this: a wake-up costs as much as sending
it."""


class PieceStore(Protocol):
    """Where a swarm's pieces are read and written."""

    @property
    def fd(self) -> int:
        """An open file that holds each piece we have at its offset."""
        ...

    def write(self, piece: int, content: memoryview) -> bool:
        """Prove ``content`` and write it; False if it is wrong. Blocking, thread-safe."""
        ...


class Host(Protocol):
    """What a swarm needs of the process it runs in."""

    traffic: Traffic
    bandwidth: Bandwidth
    outgoing: Outgoing
    places: Places

    def dial(self, swarm: "Swarm", peer: Peer) -> None:
        """Connect and greet; ends in ``swarm.welcome`` or a ``DialFailed`` event."""
        ...

    def announce(self, swarm: "Swarm") -> None:
        """Tell a tracker; ends in a ``Discovered`` or an ``AnnounceFailed`` event."""
        ...

    def prove(
        self, work: Callable[[], bool], buffer: bytearray, done: Callable[[bool | Fault], None]
    ) -> None:
        """Run ``work`` in a thread, give the buffer back, then call ``done`` on the loop."""
        ...


class Swarm:
    """One blob among its peers: an engine, its connections, and its pieces.

    Every event enters through ``tell``; nothing here awaits, so each event is applied whole
    before the next. ``changed`` is called after pieces, state or the end of it changed.
    """

    def __init__(
        self, *, engine: Engine, outline: Outline, namespace: str, store: PieceStore,
        host: Host, changed: Callable[[], None], journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self.engine = engine
        self.outline = outline
        self.namespace = namespace
        self.failure: Fault | str | None = None
        self.retired = False
        self.closed = False
        self._number = host.outgoing.join(engine.held_by)
        self.incoming, self.outgoing = host.bandwidth.flows()
        self._store = store
        self._host = host
        self._changed = changed
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._busy = False
        self._wires: dict[int, tuple[Wire, Peer]] = {}
        self._next_conn = 1
        self._alarm: asyncio.TimerHandle | None = None
        self._progress_at: dict[int, float] = {}
        self._proving = 0
        self._queued_bytes = max(QUEUED_BYTES_MIN, outline.layout.piece_length // 2)

    @property
    def proving(self) -> int:
        """Bodies being hashed and written now; the store must stay open for them."""
        return self._proving

    @property
    def have_bytes(self) -> int:
        """Bytes of the pieces that are proven, as if all were of one length."""
        layout = self.outline.layout
        return min(self.engine.have.bit_count() * layout.piece_length, layout.size)

    @property
    def idle(self) -> bool:
        """Whether its blob is whole and nobody is connected."""
        return self.engine.complete and not self._wires and not self._proving

    def retire(self) -> None:
        """Have it left, as if it had been idle for long."""
        self.retired = True
        self._changed()

    def start(self) -> None:
        """Wake the core."""
        metrics.SWARMS.inc()
        self._host.places.enter(self)
        self.tell(Started())

    def tell(self, event: Event) -> None:
        """Apply ``event`` and obey every command that follows; re-entrant calls queue up."""
        if self.closed:
            return
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                event, now = self._events.popleft(), self._loop.time()
                commands = self.engine.handle(event, now)
                if self._journal is not None:
                    self._journal.record(now, event, commands)
                for command in commands:
                    self._obey(command)
        finally:
            self._busy = False

    def number(self) -> int:
        """A connection number not used before in this swarm."""
        self._next_conn += 1
        return self._next_conn

    def welcome(self, wire: Wire, peer: Peer, dialed: Dialed, holds: int, told: int) -> None:
        """Take in a connection whose handshake is done; ``told`` is what we said we hold."""
        if self.closed:
            wire.close()
            return
        self._wires[wire.conn] = (wire, peer)
        self._host.places.opened()
        wire.start(self._queued_bytes)
        self.tell(Connected(wire.conn, peer, dialed, holds, told))

    def close(self, goodbye: Goodbye) -> None:
        """Leave the swarm; may be called twice."""
        if self.closed:
            return
        self.closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for conn in list(self._wires):
            self._part(conn, goodbye)
        self._host.outgoing.leave(self._number)
        if self._journal is not None:
            self._journal.close()
        self._host.places.leave(self)
        metrics.SWARMS.dec()

    # What the core ordered.

    def _obey(self, command: Command) -> None:
        match command:
            case Send(conn, message):
                self._say(conn, message)
            case Serve(conn, piece, rank):
                if conn in self._wires:
                    body = Body(piece, self._store.fd, *self.outline.layout.span(piece))
                    sender = self._wires[conn][0].sender
                    self._host.outgoing.order((self._number, conn), sender, body, rank)
            case Withdraw(conn, piece):
                if conn in self._wires:
                    sender = self._wires[conn][0].sender
                    if self._host.outgoing.withdraw((self._number, conn), sender, piece):
                        self._say(conn, Reject(piece))
            case Take(conn, piece):
                if conn in self._wires:
                    length = self.outline.layout.span(piece)[1]
                    capacity = self.outline.layout.piece_length
                    self._wires[conn][0].receiver.take(piece, length, capacity)
            case Skip(conn, piece):
                if conn in self._wires:
                    length = self.outline.layout.span(piece)[1]
                    self._host.traffic.wasted(length)
                    self._wires[conn][0].receiver.skip(piece, length)
            case Dial(peer):
                self._host.dial(self, peer)
            case Close(conn, reason, because):
                log.debug("peer.closed", reason=reason, because=because, conn=conn)
                self._part(conn, Goodbye(reason))
            case Announce():
                self._host.announce(self)
            case WakeAt(when):
                if self._alarm is not None:
                    self._alarm.cancel()
                self._alarm = self._loop.call_at(when, self._tick)
            case Completed():
                self._changed()
            case GaveUp(because):
                self.failure = because
                self._changed()
            case Retired():
                self.retired = True
                self._changed()

    def _tick(self) -> None:
        """Wake the core; a peer whose body waits for a buffer of ours is not silent."""
        for conn, (wire, _) in list(self._wires.items()):
            if wire.receiver.waiting:
                self.tell(Progressed(conn))
        self.tell(Ticked())

    def _say(self, conn: int, message: Message) -> None:
        if conn in self._wires:
            self._wires[conn][0].sender.send(message)

    def _part(self, conn: int, goodbye: Goodbye) -> None:
        entry = self._wires.pop(conn, None)
        self._progress_at.pop(conn, None)
        if entry is not None:
            self._closed_one()
            self._host.outgoing.drop((self._number, conn))
            entry[0].finish(goodbye)

    def _closed_one(self) -> None:
        self._host.places.closed()
        if not self._wires:
            # From now on it is idle.
            self._host.places.touch(self)

    # What the connections tell.

    def heard(self, wire: Wire, message: Message) -> None:
        """A frame came."""
        self.tell(Received(wire.conn, message))

    def progressed(self, wire: Wire, count: int) -> None:
        """Body bytes came; the core is told at most once a second per connection."""
        del count
        now = self._loop.time()
        if now - self._progress_at.get(wire.conn, 0.0) >= PROGRESS_EVERY_S:
            self._progress_at[wire.conn] = now
            self.tell(Progressed(wire.conn))

    def arrived(self, wire: Wire, piece: int, buffer: bytearray, length: int) -> None:
        """A whole body is in memory: prove and write it in a thread."""
        peer = self._wires[wire.conn][1]
        store, conn = self._store, wire.conn
        self.tell(Arrived(conn, piece))

        def work() -> bool:
            with memoryview(buffer) as view, view[:length] as content:
                return store.write(piece, content)

        def done(outcome: bool | Fault) -> None:  # noqa: FBT001 - the work's own result
            self._proving -= 1
            self._proven(conn, piece, peer, length, outcome)

        self._proving += 1
        self._host.prove(work, buffer, done)

    def _proven(
        self,
        conn: int,
        piece: int,
        peer: Peer,
        length: int,
        outcome: bool | Fault,  # noqa: FBT001
    ) -> None:
        if isinstance(outcome, Fault):
            self.failure = outcome
        elif outcome:
            metrics.PIECES_VERIFIED.inc()
            if bitfield.has(self.engine.have, piece):
                self._host.traffic.wasted(length)
            else:
                self._host.traffic.received(peer, length)
            self.tell(Verified(conn, piece))
        else:
            metrics.PIECES_REFUSED.inc()
            self._host.traffic.wasted(length)
            log.warning("piece.corrupt", digest=self.outline.digest.short, piece=piece,
                        peer=str(peer), bytes=length)  # fmt: skip
            self.tell(Refused(conn, piece))
        self._changed()

    def served(self, wire: Wire, piece: int, length: int) -> None:
        """A whole body was handed to the kernel."""
        self._host.traffic.sent(length)
        self._host.outgoing.left((self._number, wire.conn))
        self.tell(Served(wire.conn, piece))

    def lost(self, wire: Wire, reason: str) -> None:
        """The connection broke."""
        if self._wires.pop(wire.conn, None) is not None:
            self._progress_at.pop(wire.conn, None)
            self._closed_one()
            self._host.outgoing.drop((self._number, wire.conn))
            log.debug("peer.lost", reason=reason, conn=wire.conn)
            self.tell(Disconnected(wire.conn))
