"""One blob among its peers: the single entry of the swarm core.

Events in, commands out. It never waits, never reads a clock, and never raises for what a
peer did: a peer at fault is closed and banned, and the swarm goes on.
"""

from octopull.blob.layout import Layout
from octopull.kernel import bitfield
from octopull.kernel.errors import PeerFault
from octopull.swarm.announcer import Announcer
from octopull.swarm.chance import Chance
from octopull.swarm.chooser import Chooser
from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.events import (
    Announce,
    AnnounceFailed,
    Arrived,
    Close,
    Command,
    Completed,
    Connected,
    Dial,
    DialFailed,
    Disconnected,
    Discovered,
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
    Sought,
    Started,
    Take,
    Ticked,
    Verified,
    WakeAt,
    Withdraw,
)  # fmt: skip
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import (
    Cancel,
    Goodbye,
    Have,
    Message,
    PieceHead,
    Reason,
    Reject,
    Request,
)  # fmt: skip
from octopull.swarm.picker import Picker
from octopull.swarm.pieces import Pieces
from octopull.swarm.pipeline import Pipeline
from octopull.swarm.roster import Roster


class Engine:
    """A swarm as one peer sees it.

    Args:
        me: our peer id.
        layout: the blob's size and pieces.
        have: pieces already proven.
        limits: how to behave.
        salt: seeds every choice left to chance; the same events then give the same commands.

    """

    def __init__(
        self, *, me: str, layout: Layout, have: int, limits: SwarmLimits, salt: int
    ) -> None:
        chance = Chance(salt)
        self._me = me
        self._layout = layout
        self._limits = limits
        self._pieces = Pieces(layout.count, have)
        self._picker = Picker(layout.count, chance)
        self._roster = Roster(me, limits, chance)
        self._announcer = Announcer(limits)
        self._connections = Connections(limits)
        self._chooser = Chooser(self._pieces, self._picker, limits)
        self._gained_at = 0.0
        self._alarm: float | None = None
        self._over = False
        self._commands: list[Command] = []

    @property
    def have(self) -> int:
        """Pieces proven, as a set."""
        return self._pieces.have

    @property
    def complete(self) -> bool:
        """Whether every piece is proven."""
        return self._pieces.complete

    @property
    def prefix(self) -> int:
        """Pieces proven from the first on without a gap."""
        return bitfield.prefix(self._pieces.have)

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def wants(self) -> int:
        """Peers worth hearing of: three for each free place, and a few though none is free.

        Three, since some will be full or gone; a few, so that the graph is stirred.
        """
        return 0 if self.complete else 3 * (max(self._dial_room(), 0) + 1)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Apply ``event`` at ``now`` (seconds, monotonic); return what follows, in order."""
        self._commands = []
        match event:
            case Started():
                self._start(now)
            case Discovered(peers, interval_s):
                self._roster.discovered(peers)
                self._announcer.answered(interval_s, now)
            case AnnounceFailed():
                self._announcer.failed(now)
            case DialFailed(peer_id):
                self._roster.failed(peer_id, now)
            case Sought(piece):
                self._chooser.sought = piece
                self._fill_all(now)
            case Ticked():
                self._alarm = None
            case Connected():
                self._connect(event, now)
            case Verified(conn, piece):
                self._verified(conn, piece, now)
            case Refused(conn, piece):
                self._refused(conn, piece, now)
            case _:
                connection = self._connections.get(event.conn)
                if connection is not None:
                    self._about(connection, event, now)
        self._keep_time(now)
        return self._commands

    def validate(self) -> None:
        """Assert the invariants of all parts; on in tests and simulation, off in service."""
        self._pieces.validate()
        self._picker.validate()
        assert len(self._connections) <= self._limits.connections_max
        for connection in self._connections:
            connection.validate()
            for piece in connection.pipeline.asked:
                assert connection.conn in self._pieces.askers(piece)

    # Beginning, and time.

    def _start(self, now: float) -> None:
        self._gained_at = now
        self._announcer.soon(now)
        if self.complete:
            self._order(Completed())

    def _keep_time(self, now: float) -> None:
        """Do what is due, and ask to be woken for what is not."""
        for connection in self._connections:
            self._take_back_overdue(connection, now)
        if self._announcer.due(now):
            self._order(Announce())
        self._dial(now)
        self._end_if_idle(now)
        self._wake(now)

    def _take_back_overdue(self, connection: Connection, now: float) -> None:
        late = connection.pipeline.overdue(now)
        for piece in late:
            self._pieces.release(piece, connection.conn)
        if connection.pipeline.dead:
            self._drop(connection, Reason.FAULT, "does not answer", now)
            self._roster.ban(connection.peer.id, now + self._limits.fault_ban_s)
        elif late:
            for piece in late:
                self._send(connection, Cancel(piece))
            self._fill_all(now)

    def _dial(self, now: float) -> None:
        room = self._dial_room()
        if room > 0:
            for peer in self._roster.dial(self._connections.peers(), room, now):
                self._order(Dial(peer))

    def _dial_room(self) -> int:
        if self.complete or self._over:
            return 0
        return self._limits.dials_max - len(self._connections) - self._roster.dialing

    def _end_if_idle(self, now: float) -> None:
        if self._over or now < self._idle_deadline():
            return
        self._over = True
        if self.complete:
            self._order(Retired())
        else:
            missing = self._layout.count - self._pieces.have.bit_count()
            self._order(GaveUp(f"nothing came for {self._limits.give_up_s:g} s; "
                               f"{missing} of {self._layout.count} pieces missing"))  # fmt: skip

    def _idle_deadline(self) -> float:
        patience_s = self._limits.seeder_idle_s if self.complete else self._limits.give_up_s
        return self._gained_at + patience_s

    def _wake(self, now: float) -> None:
        due = [c.pipeline.next_deadline for c in self._connections]
        due.append(self._announcer.next_deadline)
        if not self._over:
            due.append(self._idle_deadline())
        if self._dial_room() > 0:
            due.append(self._roster.next_dial(self._connections.peers()))
        when = min((one for one in due if one is not None), default=None)
        # A later deadline leaves the alarm: it rings for nothing, once, which is cheaper than
        # setting it anew for each event.
        if when is not None and (self._alarm is None or when < self._alarm):
            self._alarm = max(when, now)
            self._order(WakeAt(self._alarm))

    # Connections.

    def _connect(self, event: Connected, now: float) -> None:
        self._roster.connected(event.peer.id)
        pipeline = Pipeline(self._limits, self._layout.piece_length)
        fresh = Connection(event.conn, event.peer, event.dialed, event.holds, pipeline)
        refusal = self._refusal(fresh, now)
        if refusal is not None:
            self._order(Close(fresh.conn, *refusal))
            self._roster.failed(fresh.peer.id, now)
            return
        self._connections.add(fresh)
        self._picker.gained(fresh.holds)
        if self.complete:
            self._gained_at = now
        for piece in bitfield.pieces(self._pieces.have & ~event.told & ~fresh.holds):
            self._send(fresh, Have(piece))
        self._fill(fresh, now)

    def _refusal(self, fresh: Connection, now: float) -> tuple[Reason, str] | None:
        """Why not to keep a new connection, if there is a reason; closes the one it replaces."""
        if fresh.peer.id == self._me:
            return Reason.DUPLICATE, "that is ourselves"
        if self._roster.banned(fresh.peer.id, now):
            return Reason.FAULT, "banned"
        if self.complete and fresh.holds == self._pieces.have:
            return Reason.DONE, "both have everything"
        twin = self._connections.to(fresh.peer.id)
        if twin is not None:
            # Both sides must keep the same one: that which the smaller id dialled.
            if twin.dialer(self._me) < fresh.dialer(self._me):
                return Reason.DUPLICATE, "connected already"
            self._drop(twin, Reason.DUPLICATE, "replaced", now)
        strangers = self._limits.connections_max if self.complete else self._limits.accepted_max
        if not self._connections.room_for(fresh.dialed, strangers):
            return Reason.FULL, "no place left"
        return None

    def _drop(self, connection: Connection, reason: Reason, because: str, now: float) -> None:
        self._order(Close(connection.conn, reason, because))
        self._forget(connection, now)

    def _forget(self, connection: Connection, now: float) -> None:
        if not self._connections.remove(connection):
            return
        self._picker.lost(connection.holds)
        for piece in connection.pipeline.asked:
            self._pieces.release(piece, connection.conn)
        self._roster.failed(connection.peer.id, now)
        self._fill_all(now)

    # What happened on one connection.

    def _about(self, connection: Connection, event: Event, now: float) -> None:
        try:
            match event:
                case Received(_, message):
                    self._heard(connection, message, now)
                case Progressed():
                    connection.pipeline.heard(now)
                    self._gained_at = now
                case Arrived(_, piece):
                    self._arrived(connection, piece, now)
                case Served(_, piece):
                    connection.serving.discard(piece)
                    if self.complete:
                        self._gained_at = now
                case Disconnected():
                    self._forget(connection, now)
                case _:
                    raise AssertionError(event)
        except PeerFault as fault:
            self._roster.ban(connection.peer.id, now + self._limits.fault_ban_s)
            self._drop(connection, Reason.FAULT, str(fault), now)

    def _heard(self, connection: Connection, message: Message, now: float) -> None:
        """Raises PeerFault: the message breaks the protocol."""
        match message:
            case Have(piece):
                self._told_have(connection, self._known(piece), now)
            case Request(piece):
                self._asked_for(connection, self._known(piece), now)
            case Cancel(piece):
                if piece in connection.serving:
                    connection.serving.discard(piece)
                    self._order(Withdraw(connection.conn, piece))
            case Reject(piece):
                self._rejected(connection, piece, now)
            case PieceHead(piece, length):
                self._head(connection, piece, length, now)
            case Goodbye(reason):
                self._drop(connection, reason, "the peer said goodbye", now)
            case _:
                raise PeerFault("a second handshake")

    def _known(self, piece: int) -> int:
        if piece >= self._layout.count:
            raise PeerFault("no such piece", piece=piece, count=self._layout.count)
        return piece

    def _told_have(self, connection: Connection, piece: int, now: float) -> None:
        if not bitfield.has(connection.holds, piece):
            connection.holds |= 1 << piece
            self._picker.gained(1 << piece)
        if self.complete and connection.holds == self._pieces.have:
            self._drop(connection, Reason.DONE, "both have everything", now)
        else:
            self._fill(connection, now)

    def _asked_for(self, connection: Connection, piece: int, now: float) -> None:
        if not bitfield.has(self._pieces.have, piece):
            raise PeerFault("asks for what we never offered", piece=piece)
        if len(connection.serving) >= self._limits.served_queue_max:
            raise PeerFault("asks for too much at once", queue=len(connection.serving))
        if self.complete:
            self._gained_at = now
        if piece not in connection.serving:
            connection.serving.add(piece)
            self._order(Serve(connection.conn, piece))

    def _head(self, connection: Connection, piece: int, length: int, now: float) -> None:
        if length != self._layout.span(self._known(piece))[1]:
            raise PeerFault("a body of the wrong length", piece=piece, length=length)
        if not connection.pipeline.waits_for(piece) or connection.receiving is not None:
            raise PeerFault("a body nobody asked for", piece=piece)
        connection.pipeline.heard(now)
        if bitfield.has(self._pieces.missing, piece):
            connection.receiving = piece
            self._order(Take(connection.conn, piece))
        else:
            connection.pipeline.answered(piece, now)
            self._pieces.release(piece, connection.conn)
            self._order(Skip(connection.conn, piece))
            self._fill(connection, now)

    def _rejected(self, connection: Connection, piece: int, now: float) -> None:
        cancelled = piece in connection.pipeline.late
        connection.pipeline.answered(piece, now)
        self._pieces.release(piece, connection.conn)
        if not cancelled and bitfield.has(connection.holds, piece):
            # It will not serve what it said it holds; asked again it would say so for ever.
            connection.holds ^= 1 << piece
            self._picker.lost(1 << piece)
        self._fill_others(connection, now)
        self._fill(connection, now)

    # Pieces.

    def _arrived(self, connection: Connection, piece: int, now: float) -> None:
        connection.receiving = None
        connection.pipeline.answered(piece, now)
        self._pieces.release(piece, connection.conn)
        self._pieces.prove(piece, connection.conn, connection.peer.id)
        self._gained_at = now
        for conn in sorted(self._pieces.askers(piece)):
            other = self._connections.get(conn)
            if other is not None and other.receiving != piece:
                other.pipeline.take_back(piece, now)
                self._pieces.release(piece, conn)
                self._send(other, Cancel(piece))
        self._fill(connection, now)

    def _verified(self, conn: int, piece: int, now: float) -> None:
        sender = self._connections.get(conn)
        if sender is not None:
            sender.pipeline.forgive()
            self._roster.useful(sender.peer.id)
        if not self._pieces.verified(piece, conn):
            return
        self._gained_at = now
        for connection in self._connections:
            if not bitfield.has(connection.holds, piece):
                self._send(connection, Have(piece))
        if self.complete:
            self._order(Completed())
            self._announcer.soon(now)
            for connection in self._connections:
                if connection.holds == self._pieces.have:
                    self._drop(connection, Reason.DONE, "both have everything", now)

    def _refused(self, conn: int, piece: int, now: float) -> None:
        """Ban who sent it, even if it hung up before the proof was done and came back."""
        liar = self._pieces.refused(piece, conn)
        if liar is not None:
            self._roster.ban(liar, now + self._limits.corrupt_ban_s)
            connection = self._connections.to(liar)
            if connection is not None:
                self._drop(connection, Reason.FAULT, f"piece {piece} is corrupt", now)
        self._fill_all(now)

    # Requests.

    def _fill_all(self, now: float) -> None:
        for connection in self._connections:
            self._fill(connection, now)

    def _fill_others(self, than: Connection, now: float) -> None:
        for connection in self._connections:
            if connection is not than:
                self._fill(connection, now)

    def _fill(self, connection: Connection, now: float) -> None:
        """Ask ``connection`` for pieces while it has room for requests."""
        while connection.pipeline.room > 0:
            piece = self._chooser.choose(connection)
            if piece is None:
                return
            connection.pipeline.ask(piece, now)
            self._pieces.ask(piece, connection.conn)
            self._send(connection, Request(piece))

    def _send(self, connection: Connection, message: Message) -> None:
        self._order(Send(connection.conn, message))

    def _order(self, command: Command) -> None:
        self._commands.append(command)
