"""The connections of one swarm, and whether there is a place for one more."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from octopull.swarm.connection import Connection
from octopull.swarm.events import Dialed
from octopull.swarm.limits import SwarmLimits


@dataclass(slots=True)
class Connections:
    """Open connections by number; at most ``limits.connections_max``.

    Iterating goes over those that were open when it began, so one may be dropped on the way.
    """

    limits: SwarmLimits
    _open: dict[int, Connection] = field(default_factory=dict[int, Connection])
    _all: tuple[Connection, ...] = ()

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._open)

    def get(self, conn: int) -> Connection | None:
        """The connection numbered ``conn``, if it is open."""
        return self._open.get(conn)

    def add(self, connection: Connection) -> None:
        """Keep a connection that ``room_for`` said yes to."""
        self._open[connection.conn] = connection
        self._all = tuple(self._open.values())

    def remove(self, connection: Connection) -> bool:
        """Forget a connection; whether it was open."""
        known = self._open.pop(connection.conn, None) is not None
        self._all = tuple(self._open.values())
        return known

    @property
    def all(self) -> tuple[Connection, ...]:
        """All that are open, in the order in which they were opened."""
        return self._all

    def to(self, peer_id: str) -> Connection | None:
        """The connection to a peer, if there is one."""
        return next((c for c in self._open.values() if c.peer.id == peer_id), None)

    def peers(self) -> set[str]:
        """Ids of the peers we are connected to."""
        return {connection.peer.id for connection in self._open.values()}

    @property
    def dialed(self) -> int:
        """Those that we opened."""
        return sum(one.dialed is Dialed.BY_US for one in self._all)

    def room_for(self, dialed: Dialed, accepted_max: int) -> bool:
        """Whether one more fits; strangers get ``accepted_max`` places and no more."""
        if len(self._open) >= self.limits.connections_max:
            return False
        accepted = sum(one.dialed is Dialed.BY_THEM for one in self._open.values())
        return dialed is Dialed.BY_US or accepted < accepted_max

    def without(self, pieces: int) -> Connection | None:
        """A connection to a peer that holds none of ``pieces``, one that we dialled if any is."""
        useless = [one for one in self if not one.holds & pieces]
        own = [one for one in useless if one.dialed is Dialed.BY_US]
        return next(iter(own or useless), None)
