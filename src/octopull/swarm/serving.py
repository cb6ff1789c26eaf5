"""What peers asked us for: pieces that we hold, and such as are on their way to us.

Peers hear of a piece when its body begins to come: the news, and their requests, travel while the
body does. A request waits here until the piece is proven, and what is not proven is not served. A
piece that does not come after all, or not in time, is taken back.
"""

from dataclasses import dataclass, field

from octopull.kernel import bitfield
from octopull.kernel.errors import PeerFault
from octopull.swarm.alarm import Alarm
from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.events import Serve, Withdraw
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Reject
from octopull.swarm.orders import Orders
from octopull.swarm.pace import Pace
from octopull.swarm.picker import Picker
from octopull.swarm.pieces import Pieces
from octopull.swarm.telling import Telling


@dataclass(slots=True)
class _Promise:
    """A piece that peers were told of before it was proven, and who asked for it since."""

    until: float
    askers: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Serving:
    """Requests of peers. Invariant: a piece is promised only while it is not had."""

    pieces: Pieces
    picker: Picker
    connections: Connections
    limits: SwarmLimits
    orders: Orders
    alarm: Alarm
    pace: Pace
    telling: Telling
    _promises: dict[int, _Promise] = field(default_factory=dict[int, _Promise])

    # What peers want.

    def asked(self, connection: Connection, piece: int) -> None:
        """A request for ``piece``.

        Raises:
            PeerFault: it was never offered, or the peer asks for more than it can use.

        """
        if not bitfield.has(connection.told | connection.retracted, piece):
            raise PeerFault("asks for what we never offered", piece=piece)
        if len(connection.serving) >= self.limits.served_queue_max:
            raise PeerFault("asks for too much at once", queue=len(connection.serving))
        if piece in connection.serving:
            return
        promise = self._promises.get(piece)
        if bitfield.has(self.pieces.have, piece):
            connection.serving.add(piece)
            self._serve(connection, piece)
        elif promise is not None:
            connection.serving.add(piece)
            promise.askers.append(connection.conn)
        else:
            # It was taken back while the request was on its way.
            self.orders.send(connection, Reject(piece))

    def _serve(self, connection: Connection, piece: int) -> None:
        self.orders.add(Serve(connection.conn, piece, self.picker.holders(piece)))

    def cancelled(self, connection: Connection, piece: int) -> None:
        """The peer would rather not have ``piece``; one that it did not ask for is ignored."""
        if piece not in connection.serving:
            return
        connection.serving.discard(piece)
        promise = self._promises.get(piece)
        if promise is None:
            self.orders.add(Withdraw(connection.conn, piece))
        else:
            promise.askers.remove(connection.conn)
            self.orders.send(connection, Reject(piece))

    def served(self, connection: Connection, piece: int, now: float) -> None:
        """The body of ``piece`` was handed to the kernel."""
        connection.serving.discard(piece)
        connection.given |= 1 << piece
        self.telling.count(connection, 1 << piece)
        self.telling.news(connection, now)

    # What becomes of the pieces that they want.

    def coming(self, piece: int, now: float) -> None:
        """The body of ``piece`` begins to come: peers hear of it if it will be here soon."""
        if piece not in self._promises and self.pace.piece_s <= self.limits.promise_s:
            until = now + self.limits.promise_s
            self._promises[piece] = _Promise(until)
            self.alarm.by(until)
            self.telling.gained(piece, now)

    def gained(self, piece: int, now: float) -> None:
        """We hold ``piece``: those who wait for it get it, and all others hear of it."""
        for connection in self._end(piece):
            self._serve(connection, piece)
        self.telling.gained(piece, now)

    def failed(self, piece: int) -> None:
        """``piece`` does not come as it should; nothing happens if it was not promised."""
        if piece in self._promises:
            for connection in self._end(piece):
                connection.serving.discard(piece)
                self.orders.send(connection, Reject(piece))
            self.telling.retract(piece)

    def _end(self, piece: int) -> list[Connection]:
        """Promise ``piece`` no more; who waits for it."""
        promise = self._promises.pop(piece, None)
        askers = [] if promise is None else map(self.connections.get, promise.askers)
        return [connection for connection in askers if connection is not None]

    # Time.

    @property
    def next_deadline(self) -> float | None:
        """When ``overdue`` may have something to do (seconds, core clock), if ever."""
        return min((promise.until for promise in self._promises.values()), default=None)

    def overdue(self, now: float) -> None:
        """Take back what has not come in time: those who wait may find it elsewhere."""
        for piece in [one for one, promise in self._promises.items() if promise.until <= now]:
            self.failed(piece)

    def validate(self) -> None:
        """Assert the class invariant."""
        for piece, promise in self._promises.items():
            assert not bitfield.has(self.pieces.have, piece)
            for connection in map(self.connections.get, promise.askers):
                assert connection is None or piece in connection.serving
