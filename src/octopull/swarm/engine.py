"""One blob among its peers: the single entry of the swarm core.

Events in, commands out. It never waits, never reads a clock, and never raises for what a
peer did: a peer at fault is closed and banned, and the swarm goes on.
"""

from octopull.blob.layout import Layout
from octopull.kernel import bitfield
from octopull.kernel.errors import PeerFault
from octopull.swarm.admission import Admission
from octopull.swarm.alarm import Alarm
from octopull.swarm.announcer import Announcer
from octopull.swarm.chance import Chance
from octopull.swarm.chooser import Chooser
from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.dialing import Dialing
from octopull.swarm.events import (
    Acquired,
    Announce,
    AnnounceFailed,
    Arrived,
    Close,
    Command,
    Completed,
    Connected,
    DialFailed,
    Disconnected,
    Discovered,
    Event,
    GaveUp,
    Learnt,
    Progressed,
    Received,
    Refused,
    Retired,
    Served,
    Skip,
    Sought,
    Started,
    Take,
    Ticked,
    Verified,
    WakeAt,
)  # fmt: skip
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import (
    Cancel,
    Goodbye,
    Have,
    Haves,
    Hungry,
    Lacks,
    Message,
    PieceHead,
    Reason,
    Reject,
    Request,
    Sated,
    Wanted,
)  # fmt: skip
from octopull.swarm.offers import offers_of
from octopull.swarm.orders import Orders
from octopull.swarm.pace import Pace
from octopull.swarm.patience import Patience
from octopull.swarm.picker import Picker
from octopull.swarm.pieces import Pieces
from octopull.swarm.pipeline import Pipeline
from octopull.swarm.requests import Requests
from octopull.swarm.roster import Roster
from octopull.swarm.serving import Serving
from octopull.swarm.telling import Telling


class Engine:
    """A swarm as one peer sees it.

    Args:
        me: our peer id.
        layout: the blob's size and pieces.
        have: pieces already proven.
        limits: how to behave.
        salt: seeds every choice left to chance; the same events then give the same commands.
        zone: where we are; peers of the same zone are asked first.
        provable: the hashes of so many pieces are known, and they alone are asked for; None: all.

    """

    def __init__(
        self, *, me: str, layout: Layout, have: int, limits: SwarmLimits, salt: int,
        zone: str = "", provable: int | None = None,
    ) -> None:  # fmt: skip
        chance = Chance(salt)
        self._zone = zone
        self._layout = layout
        self._limits = limits
        self._orders = orders = Orders()
        self._alarm = alarm = Alarm()
        known = layout.count if provable is None else provable
        self._pieces = pieces = Pieces(layout.count, have, known)
        self._picker = picker = Picker(layout.count, chance)
        self._roster = roster = Roster(me, limits, chance)
        self._announcer = Announcer(limits)
        self._connections = connections = Connections(limits)
        self._admission = Admission(me, limits, pieces, roster, connections)
        self._dialing = Dialing(limits, roster, connections, self._announcer, orders)
        pace, offers = Pace(), offers_of(limits, pieces, picker, chance)
        self._telling = telling = Telling(offers, picker, connections, limits, orders, alarm, pace)
        chooser = Chooser(pieces, picker, connections, limits, chance, pace)
        self._requests = Requests(
            pieces, picker, connections, chooser, limits, orders, alarm, pace, telling
        )
        self._serving = Serving(pieces, picker, connections, limits, orders, alarm, pace, telling)
        self._patience = Patience(limits)
        self._over = False

    @property
    def have(self) -> int:
        """Pieces proven, as a set."""
        return self._pieces.have

    @property
    def greeting(self) -> int:
        """Pieces that a handshake says we hold."""
        return self._telling.greeting(self._pieces.have)

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

    def held_by(self, conn: int) -> int:
        """How many pieces the peer of ``conn`` holds, as far as we know; 0 if it is gone."""
        connection = self._connections.get(conn)
        return 0 if connection is None else connection.held

    @property
    def wants(self) -> int:
        """Peers worth hearing of: three for each free place, and a few though none is free.

        Three, since some will be full or gone; a few, so that the graph is stirred.
        """
        return 0 if self.complete else 3 * (max(self._dial_room(), 0) + 1)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Apply ``event`` at ``now`` (seconds, monotonic); return what follows, in order."""
        match event:
            case Received() | Arrived() | Served() | Progressed() | Disconnected():
                connection = self._connections.get(event.conn)
                if connection is not None:
                    self._about(connection, event, now)
            case Verified(conn, piece):
                self._verified(conn, piece, now)
            case Refused(conn, piece):
                self._refused(conn, piece, now)
            case Acquired(piece):
                if self._pieces.acquired(piece):
                    self._gained(piece, now)
            case Learnt(pieces):
                self._learnt(pieces, now)
            case Connected():
                self._connect(event, now)
            case Sought(piece):
                self._requests.seek(piece, now)
            case _:
                self._alarm.stale = True
                self._about_the_world(event, now)
        if self._alarm.due(now):
            self._keep_time(now)
        return self._orders.take()

    def _about_the_world(self, event: Event, now: float) -> None:
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
            case Ticked():
                self._alarm.at = None
            case _:
                raise AssertionError(event)

    def validate(self) -> None:
        """Assert the invariants of all parts; on in tests and simulation, off in service."""
        self._pieces.validate()
        self._picker.validate()
        self._serving.validate()
        assert len(self._connections) <= self._limits.connections_max
        for connection in self._connections:
            connection.validate()
            for piece in connection.pipeline.asked:
                assert connection.conn in self._pieces.askers(piece)

    # Beginning, and time.

    def _start(self, now: float) -> None:
        self._patience.gained(now)
        self._announcer.soon(now)
        if self.complete:
            self._orders.add(Completed())

    def _keep_time(self, now: float) -> None:
        """Do what is due, and ask to be woken for what is not."""
        self._alarm.looked(now)
        for connection in self._connections:
            self._requests.overdue(connection, now)
            if connection.pipeline.dead:
                self._drop(connection, Reason.FAULT, "does not answer", now)
                self._roster.ban(connection.peer.id, now + self._limits.fault_ban_s)
        self._serving.overdue(now)
        self._telling.flush(now)
        self._requests.look(now)
        self._make_room(now)
        if not self.complete and not self._over:
            self._dialing.dial(now)
        if self._announcer.due(now):
            self._orders.add(Announce())
        self._end_if_idle(now)
        self._wake(now)

    def _make_room(self, now: float) -> None:
        """Let a connection that is of no use go, if we starve and have no place to dial from."""
        deadline = self._starving_deadline()
        if deadline is not None and deadline <= now:
            self._patience.made_room(now)
            useless = self._connections.without(self._pieces.missing)
            if useless is not None:
                self._drop(useless, Reason.FULL, "has nothing for us", now)

    def _starving_deadline(self) -> float | None:
        if self.complete or self._over or self._pieces.requested or self._dial_room() > 0:
            return None
        return self._patience.starves_at if self._pieces.missing else None

    def _dial_room(self) -> int:
        return 0 if self.complete or self._over else self._dialing.room

    def _end_if_idle(self, now: float) -> None:
        if self._over or now < self._patience.ends_at(complete=self.complete):
            return
        self._over = True
        if self.complete:
            self._orders.add(Retired())
        else:
            missing = self._layout.count - self._pieces.have.bit_count()
            self._orders.add(GaveUp(f"nothing came for {self._limits.give_up_s:g} s; "
                               f"{missing} of {self._layout.count} pieces missing"))  # fmt: skip

    def _wake(self, now: float) -> None:
        due = [c.pipeline.next_deadline for c in self._connections]
        due += [self._announcer.next_deadline, self._serving.next_deadline]
        due += [self._telling.flush_at, self._requests.look_at, self._starving_deadline()]
        if not self._over:
            due.append(self._patience.ends_at(complete=self.complete))
        if self._dial_room() > 0:
            due.append(self._roster.next_dial(self._connections.peers()))
        when = min((one for one in due if one is not None), default=None)
        if when is not None and self._alarm.set(max(when, now)):
            self._orders.add(WakeAt(max(when, now)))

    # Connections.

    def _connect(self, event: Connected, now: float) -> None:
        self._roster.connected(event.peer.id)
        pipeline = Pipeline(self._limits, self._layout.piece_length)
        fresh = Connection.to(
            event.peer, event.conn, event.dialed, event.holds, event.told, pipeline, self._zone
        )
        self._alarm.stale = True
        refusal = self._refusal(fresh, now)
        if refusal is not None:
            self._orders.add(Close(fresh.conn, *refusal))
            self._roster.failed(fresh.peer.id, now)
            return
        self._connections.add(fresh)
        if self.complete:
            self._patience.gained(now)
        self._telling.opened(fresh, self._pieces.have, now)
        self._requests.opened(fresh, now)

    def _refusal(self, fresh: Connection, now: float) -> tuple[Reason, str] | None:
        """Why not to keep a new connection, if there is a reason; closes the one it replaces."""
        if (refusal := self._admission.refusal(fresh, now)) is not None:
            return refusal
        twin = self._connections.to(fresh.peer.id)
        if twin is not None:
            self._drop(twin, Reason.DUPLICATE, "replaced", now)
        return None if self._admission.has_place(fresh) else (Reason.FULL, "no place left")

    def _drop(self, connection: Connection, reason: Reason, because: str, now: float) -> None:
        self._orders.add(Close(connection.conn, reason, because))
        self._forget(connection, now)

    def _forget(self, connection: Connection, now: float) -> None:
        if not self._connections.remove(connection):
            return
        self._alarm.stale = True
        self._picker.lost(connection.counted)
        self._roster.failed(connection.peer.id, now)
        if connection.receiving is not None:
            self._serving.failed(connection.receiving)
        self._requests.lost(connection, now)

    # What happened on one connection.

    def _about(self, connection: Connection, event: Event, now: float) -> None:
        try:
            match event:
                case Received(_, message):
                    self._heard(connection, message, now)
                case Progressed():
                    connection.pipeline.heard(now)
                    self._patience.gained(now)
                case Arrived(_, piece):
                    connection.receiving = None
                    self._patience.gained(now)
                    self._requests.arrived(connection, piece, now)
                case Served(_, piece):
                    self._serving.served(connection, piece, now)
                    if self.complete:
                        self._patience.gained(now)
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
                self._told_haves(connection, 1 << self._known(piece), now)
            case Haves(pieces):
                self._known(pieces.bit_length() - 1)
                self._told_haves(connection, pieces, now)
            case Hungry() | Sated():
                connection.hungry = isinstance(message, Hungry)
                self._telling.news(connection, now)
            case Lacks(piece):
                self._telling.lacks(connection, self._known(piece), self._pieces.have, now)
            case Wanted(piece):
                self._telling.wanted(connection, self._known(piece), now)
            case Request(piece):
                self._serving.asked(connection, self._known(piece))
                if self.complete:
                    self._patience.gained(now)
            case Cancel(piece):
                self._serving.cancelled(connection, piece)
            case Reject(piece):
                self._requests.rejected(connection, piece, now)
            case PieceHead():
                self._head(connection, message, now)
            case Goodbye(reason):
                self._drop(connection, reason, "the peer said goodbye", now)
            case _:
                raise PeerFault("a second handshake")

    def _known(self, piece: int) -> int:
        if piece >= self._layout.count:
            raise PeerFault("no such piece", piece=piece, count=self._layout.count)
        return piece

    def _told_haves(self, connection: Connection, pieces: int, now: float) -> None:
        connection.holds |= pieces
        self._telling.count(connection, pieces)
        if self.complete and connection.holds == self._pieces.have:
            self._drop(connection, Reason.DONE, "both have everything", now)
            return
        self._telling.news(connection, now)
        self._requests.refill(now)
        self._requests.use(connection)

    def _head(self, connection: Connection, head: PieceHead, now: float) -> None:
        piece = self._known(head.piece)
        if head.length != self._layout.span(piece)[1]:
            raise PeerFault("a body of the wrong length", piece=piece, length=head.length)
        if not connection.pipeline.waits_for(piece) or connection.receiving is not None:
            raise PeerFault("a body nobody asked for", piece=piece)
        connection.pipeline.heard(now)
        connection.waiting = head.waiting
        if bitfield.has(self._pieces.missing, piece):
            connection.receiving = piece
            self._orders.add(Take(connection.conn, piece))
            self._serving.coming(piece, now)
            if not head.waiting:
                self._requests.ask_on(connection, now)
        else:
            self._orders.add(Skip(connection.conn, piece))
            self._requests.useless(connection, piece, now)

    # Pieces.

    def _verified(self, conn: int, piece: int, now: float) -> None:
        sender = self._connections.get(conn)
        if sender is not None:
            sender.pipeline.forgive()
            self._roster.useful(sender.peer.id)
        if self._pieces.verified(piece, conn):
            self._gained(piece, now)

    def _learnt(self, pieces: int, now: float) -> None:
        """Peers may hold what could not be asked for until now."""
        self._pieces.provable = max(self._pieces.provable, pieces)
        self._patience.gained(now)
        self._requests.refill(now)

    def _gained(self, piece: int, now: float) -> None:
        self._patience.gained(now)
        self._serving.gained(piece, now)
        if self.complete:
            self._alarm.stale = True
            self._orders.add(Completed())
            self._announcer.soon(now)
            for connection in self._connections:
                if connection.holds == self._pieces.have:
                    self._drop(connection, Reason.DONE, "both have everything", now)
                else:
                    self._telling.all(connection, now)

    def _refused(self, conn: int, piece: int, now: float) -> None:
        """Ban who sent it, even if it hung up before the proof was done and came back."""
        liar = self._pieces.refused(piece, conn)
        self._serving.failed(piece)
        if liar is not None:
            self._roster.ban(liar, now + self._limits.corrupt_ban_s)
            connection = self._connections.to(liar)
            if connection is not None:
                self._drop(connection, Reason.FAULT, f"piece {piece} is corrupt", now)
        self._requests.refill(now)
