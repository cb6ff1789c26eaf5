"""Tells peers what we hold, as the offers say, and counts what the peers around us hold."""

from octopull.kernel import bitfield
from octopull.swarm.alarm import Alarm
from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Have, Haves
from octopull.swarm.offers import Offers
from octopull.swarm.orders import Orders
from octopull.swarm.picker import Picker


class Telling:
    """Knowledge on its way: what goes out at once, and what waits for its batch."""

    __slots__ = ("_alarm", "_connections", "_limits", "_offers", "_orders", "_picker", "flush_at")

    def __init__(
        self, offers: Offers, picker: Picker, connections: Connections, limits: SwarmLimits,
        orders: Orders, alarm: Alarm,
    ) -> None:  # fmt: skip
        self._offers = offers
        self._picker = picker
        self._connections = connections
        self._limits = limits
        self._orders = orders
        self._alarm = alarm
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
        """We hold one piece more."""
        bit = 1 << piece
        for connection in self._connections.all:
            if not connection.holds & bit:
                connection.untold |= self._offers.untold(bit)
                self.news(connection, now)

    def news(self, connection: Connection, now: float) -> None:
        """Tell ``connection`` of what it should hear now; the rest waits for its batch."""
        self._tell(connection, self._offers.news(connection))
        if connection.untold and self.flush_at is None:
            self.flush_at = now + self._limits.batch_s
            self._alarm.by(self.flush_at)

    def wanted(self, connection: Connection, piece: int) -> None:
        """A reader of the peer's waits for ``piece``."""
        self._tell(connection, self._offers.wanted(connection, piece))

    def all(self, connection: Connection) -> None:
        """Tell of what waits."""
        self._tell(connection, self._offers.due(connection))

    def flush(self, now: float) -> None:
        """Tell everyone what waits, if it is time."""
        if self.flush_at is not None and self.flush_at <= now:
            self.flush_at = None
            for connection in self._connections:
                self.all(connection)

    def _tell(self, connection: Connection, pieces: int) -> None:
        if not pieces:
            return
        connection.told |= pieces
        connection.untold &= ~pieces
        self.count(connection, self._offers.spread(pieces))
        single = pieces & (pieces - 1) == 0
        message = Have(bitfield.first(pieces)) if single else Haves(pieces)
        self._orders.send(connection, message)
