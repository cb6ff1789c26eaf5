"""Tells peers what we hold, as the offers say, and counts what the peers around us hold."""

from octopull.kernel import bitfield
from octopull.swarm.alarm import Alarm
from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Have, Haves, Lacks
from octopull.swarm.offers import Offers
from octopull.swarm.orders import Orders
from octopull.swarm.pace import Pace
from octopull.swarm.picker import Picker


class Telling:
    """Knowledge on its way: what goes out at once, and what waits for company.

    A frame is a packet, and at both ends a wake-up: as long as pieces come in quick succession,
    several leave in one frame. Who was not told for a while hears at once.
    """

    __slots__ = (
        "_alarm", "_connections", "_limits", "_offers", "_orders", "_pace", "_picker", "flush_at",
    )  # fmt: skip

    def __init__(
        self, offers: Offers, picker: Picker, connections: Connections, limits: SwarmLimits,
        orders: Orders, alarm: Alarm, pace: Pace,
    ) -> None:  # fmt: skip
        self._offers = offers
        self._picker = picker
        self._connections = connections
        self._limits = limits
        self._orders = orders
        self._alarm = alarm
        self._pace = pace
        self.flush_at: float | None = None

    def greeting(self, have: int) -> int:
        """What a handshake says that we hold of ``have``."""
        return self._offers.greeting(have)

    def count(self, connection: Connection, pieces: int) -> None:
        """``pieces`` are spread as far as ``connection``, each counted once."""
        fresh = pieces & ~connection.counted
        connection.counted |= fresh
        self._picker.gained(fresh)

    def opened(self, connection: Connection, have: int, now: float) -> None:
        """A connection was opened, whose peer may not know of all that we ``have``."""
        self.count(connection, connection.holds)
        connection.untold = self._offers.untold(have & ~connection.told & ~connection.holds)
        self.news(connection, now)

    def gained(self, piece: int, now: float) -> None:
        """We hold one piece more, or soon will; who was told so already is not told again."""
        bit = 1 << piece
        for connection in self._connections.all:
            if not (connection.holds | connection.told) & bit:
                connection.untold |= self._offers.untold(bit)
                self.news(connection, now)

    def retract(self, piece: int) -> None:
        """We will not hold ``piece`` as soon as we told."""
        bit = 1 << piece
        for connection in self._connections.all:
            connection.untold &= ~bit
            if connection.told & bit:
                connection.told ^= bit
                connection.retracted |= bit
                self._orders.send(connection, Lacks(piece))

    def lacks(self, connection: Connection, piece: int, have: int, now: float) -> None:
        """The peer does not hold ``piece``, whatever it told; if we ``have`` it, it may hear so."""
        bit = 1 << piece
        connection.holds &= ~bit
        if connection.counted & bit:
            connection.counted ^= bit
            self._picker.lost(bit)
        connection.untold |= self._offers.untold(have & bit & ~connection.told)
        self.news(connection, now)

    def news(self, connection: Connection, now: float) -> None:
        """Tell ``connection`` of what it should hear now; the rest waits for company."""
        due = self._due(connection)
        self._tell(connection, self._offers.news(connection, due <= now), now)
        if connection.untold and (self.flush_at is None or due < self.flush_at):
            self.flush_at = due
            self._alarm.by(due)

    def wanted(self, connection: Connection, piece: int, now: float) -> None:
        """A reader of the peer's waits for ``piece``."""
        self._tell(connection, self._offers.wanted(connection, piece), now)

    def along(self, connection: Connection, now: float) -> None:
        """A frame leaves for the peer: what it is eager to hear shares the packet."""
        if connection.hungry and connection.untold:
            self.all(connection, now)

    def all(self, connection: Connection, now: float) -> None:
        """Tell of what waits."""
        self._tell(connection, self._offers.due(connection), now)

    def flush(self, now: float) -> None:
        """Tell those whose time has come what waits."""
        if self.flush_at is None or self.flush_at > now:
            return
        for connection in self._connections:
            if connection.untold and self._due(connection) <= now:
                self.all(connection, now)
        waiting = [self._due(one) for one in self._connections if one.untold]
        self.flush_at = min(waiting, default=None)

    def _due(self, connection: Connection) -> float:
        """When the peer may be told again of less than a batch (seconds, core clock)."""
        pause_s = self._limits.batch_s
        if connection.hungry:
            pause_s = min(pause_s, self._limits.pause_share * self._pace.piece_s)
        return connection.told_at + pause_s

    def _tell(self, connection: Connection, pieces: int, now: float) -> None:
        if not pieces:
            return
        connection.told_at = now
        connection.told |= pieces
        connection.untold &= ~pieces
        self.count(connection, self._offers.spread(pieces))
        single = pieces & (pieces - 1) == 0
        message = Have(bitfield.first(pieces)) if single else Haves(pieces)
        self._orders.send(connection, message)
