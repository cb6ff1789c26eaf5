"""The connections of one swarm, and whether there is a place for one more."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from octopull.swarm.connection import Connection
from octopull.swarm.events import Dialed
from octopull.swarm.limits import SwarmLimits


@dataclass(slots=True)
class Connections:
    """Open connections by number; at most ``limits.connections_max``.

    Iterating goes over a copy, so that a connection may be dropped on the way.
    """

    limits: SwarmLimits
    _open: dict[int, Connection] = field(default_factory=dict[int, Connection])

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def get(self, conn: int) -> Connection | None:
        """The connection numbered ``conn``, if it is open."""
        return self._open.get(conn)

    def add(self, connection: Connection) -> None:
        """Keep a connection that ``room_for`` said yes to."""
        self._open[connection.conn] = connection

    def remove(self, connection: Connection) -> bool:
        """Forget a connection; whether it was open."""
        return self._open.pop(connection.conn, None) is not None

    def to(self, peer_id: str) -> Connection | None:
        """The connection to a peer, if there is one."""
        return next((c for c in self._open.values() if c.peer.id == peer_id), None)

    def peers(self) -> set[str]:
        """Ids of the peers we are connected to."""
        return {connection.peer.id for connection in self._open.values()}

    def room_for(self, dialed: Dialed, accepted_max: int) -> bool:
        """Whether one more fits; strangers get ``accepted_max`` places and no more."""
        if len(self._open) >= self.limits.connections_max:
            return False
        accepted = sum(one.dialed is Dialed.BY_THEM for one in self._open.values())
        return dialed is Dialed.BY_US or accepted < accepted_max
