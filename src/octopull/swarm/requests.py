"""Keeps the window of requests full, and each peer's line as short as can be."""

from octopull.kernel import bitfield
from octopull.kernel.peers import PeerKind
from octopull.swarm.alarm import Alarm
from octopull.swarm.chooser import Chooser
from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Cancel, Hungry, Request, Sated, Wanted
from octopull.swarm.orders import Orders
from octopull.swarm.pace import Pace
from octopull.swarm.picker import Picker
from octopull.swarm.pieces import Pieces
from octopull.swarm.telling import Telling

LOOK_S_MIN = 0.01
"""Looking for slow pieces more often costs more than it finds."""


class Requests:
    """What we asked for, of whom, and whether we want to hear of more.

    Invariant: at most ``limits.window`` pieces and ``limits.spare`` more are asked for at once.
    """

    __slots__ = (
        "_alarm", "_chooser", "_connections", "_hungry", "_limits", "_orders", "_pace", "_picker",
        "_pieces", "_telling", "look_at",
    )  # fmt: skip

    def __init__(
        self, pieces: Pieces, picker: Picker, connections: Connections, chooser: Chooser,
        limits: SwarmLimits, orders: Orders, alarm: Alarm, pace: Pace, telling: Telling,
    ) -> None:  # fmt: skip
        self._pieces = pieces
        self._picker = picker
        self._connections = connections
        self._chooser = chooser
        self._limits = limits
        self._orders = orders
        self._alarm = alarm
        self._pace = pace
        self._telling = telling
        self._hungry = True
        self.look_at: float | None = None

    def seek(self, piece: int | None, now: float) -> None:
        """A reader waits for ``piece``; None: nobody waits."""
        self._chooser.sought = piece
        for connection in self._connections:
            self._tell_wanted(connection)
        self.refill(now)

    def _tell_wanted(self, connection: Connection) -> None:
        """Ask an origin, which may hold more than it shows, to show what a reader waits for."""
        piece = self._chooser.sought
        if piece is None or connection.peer.kind is not PeerKind.ORIGIN:
            return
        if bitfield.has(self._pieces.free, piece) and self._picker.holders(piece) == 0:
            self._orders.send(connection, Wanted(piece))

    def opened(self, connection: Connection, now: float) -> None:
        """A peer more that may be asked; peers take each other for hungry at first."""
        if not self._hungry:
            self._orders.send(connection, Sated())
        self._tell_wanted(connection)
        self.refill(now)

    def refill(self, now: float) -> None:
        """Ask for pieces while the window has room for requests."""
        while self._pieces.requested.bit_count() < self._limits.window:
            request = self._chooser.next(now)
            if request is None:
                self._await_slow(now)
                break
            self._ask(*request, now)
        self._tell_appetite()

    def look(self, now: float) -> None:
        """Look again for pieces that have become slow, if it is time."""
        if self.look_at is not None and self.look_at <= now:
            self.look_at = None
            self.refill(now)

    def _await_slow(self, now: float) -> None:
        if self._pieces.requested and self.look_at is None and not self._pieces.free:
            self.look_at = now + max(self._pace.piece_s, LOOK_S_MIN)
            self._alarm.by(self.look_at)

    def _tell_appetite(self) -> None:
        """Say so when the choice of pieces becomes small, or ample."""
        choice = self._picker.around(self._pieces.free).bit_count()
        hungry = choice < (self._limits.sated_min if self._hungry else self._limits.hungry_max)
        if hungry != self._hungry:
            self._hungry = hungry
            for connection in self._connections:
                if connection.holds != self._pieces.all:
                    self._orders.send(connection, Hungry() if hungry else Sated())

    def use(self, connection: Connection) -> None:
        """Recall from a busy peer what ``connection``, which would idle, can send at once.

        It is asked for when the busy peer has rejected it: asking both would bring it twice.
        """
        found = self._chooser.recallable(connection)
        if found is not None:
            busy, piece = found
            busy.recalled |= 1 << piece
            self._orders.send(busy, Cancel(piece))

    def ask_on(self, connection: Connection, now: float) -> None:
        """Ask a peer that has no other body to send after the one that begins."""
        if (
            not connection.dear
            and connection.pipeline.depth == 1
            and self._pieces.requested.bit_count() < self._limits.window + self._limits.spare
        ):
            piece = self._chooser.choose(connection)
            if piece is not None and connection.pipeline.room > 0:
                self._ask(connection, piece, now)

    def _ask(self, connection: Connection, piece: int, now: float) -> None:
        connection.pipeline.ask(piece, now)
        self._pieces.ask(piece, connection.conn)
        self._orders.send(connection, Request(piece))
        self._telling.along(connection, now)
        self._alarm.by(now + self._limits.silence_s)

    # How requests end.

    def arrived(self, connection: Connection, piece: int, now: float) -> None:
        """The body of ``piece`` came over ``connection`` and is being proven."""
        if connection.pipeline.asks(piece):
            self._pace.arrived(connection.pipeline.age_s(piece, now))
        self._settle(connection, piece, now)
        self._pieces.prove(piece, connection.conn, connection.peer.id)
        for conn in sorted(self._pieces.askers(piece)):
            other = self._connections.get(conn)
            if other is not None and other.receiving != piece:
                other.pipeline.take_back(piece, now)
                self._pieces.release(piece, conn)
                self._orders.send(other, Cancel(piece))
        self.refill(now)
        self.use(connection)

    def useless(self, connection: Connection, piece: int, now: float) -> None:
        """A body comes that is not needed any more."""
        self._settle(connection, piece, now)
        self.refill(now)

    def rejected(self, connection: Connection, piece: int, now: float) -> None:
        """The peer will not send ``piece``.

        Raises:
            PeerFault: it was not asked to.

        """
        ours = bitfield.has(connection.pipeline.late_bits | connection.recalled, piece)
        self._settle(connection, piece, now)
        if not ours and bitfield.has(connection.holds, piece):
            # It will not serve what it said it holds; asked again it would say so for ever.
            self._telling.lacks(connection, piece, self._pieces.have, now)
        self.refill(now)

    def _settle(self, connection: Connection, piece: int, now: float) -> None:
        connection.pipeline.answered(piece, now)
        connection.recalled &= ~(1 << piece)
        self._pieces.release(piece, connection.conn)

    def overdue(self, connection: Connection, now: float) -> None:
        """Take back what ``connection`` was asked for too long ago."""
        late = connection.pipeline.overdue(now)
        for piece in late:
            self._pieces.release(piece, connection.conn)
            self._orders.send(connection, Cancel(piece))
        if late:
            self.refill(now)

    def lost(self, connection: Connection, now: float) -> None:
        """The connection is gone, and with it what was asked of it.

        What a reader waits for may be with nobody else that shows it.
        """
        for piece in connection.pipeline.asked:
            self._pieces.release(piece, connection.conn)
        self.refill(now)
        for other in self._connections:
            self._tell_wanted(other)
