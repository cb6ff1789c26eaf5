"""How many swarms and connections a process has, and who makes room for one more.

It is told what is opened and closed, and opens and closes nothing itself but swarms that are of no
use to anybody now: those whose blob is whole, and that no peer is connected in, the oldest first.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from octopull.config.peers import PeerLimits
from octopull.kernel.errors import Unavailable
from octopull.observability import logs, metrics
from octopull.runtime.tasks import happens
from octopull.swarm.events import Dialed

log = logs.get("transport")
ROOM_S = 5.0
"""So long a pull waits for a place: what others pull ends all the time."""

LOOK_S = 1.0
"""A swarm may become idle without anything ending."""

OWN_SHARE = 8
"""One connection in so many is for those that this process dials."""

SWARMS, CONNECTIONS = "swarms", "peer_connections"


class Tenant(Protocol):
    """A swarm."""

    @property
    def idle(self) -> bool:
        """Whether it only waits for peers that may come."""
        ...

    def retire(self) -> None:
        """Be left soon; it counts no more."""
        ...


class Places:
    """The swarms of one process, and its connections over all of them; ``service`` is for metrics.

    Invariants: no more swarms than ``limits.swarms_max`` were let in at once, nor connections than
    ``limits.connections_max``. Calls come from the loop's thread.
    """

    def __init__(self, limits: PeerLimits, service: str) -> None:
        self.limits = limits
        self._service = service
        self._swarms: dict[int, Tenant] = {}
        self._connections = 0
        self._coming = 0
        self._freed = asyncio.Event()

    @property
    def swarms(self) -> int:
        """Those that are open and were not told to be left."""
        return len(self._swarms)

    @property
    def connections(self) -> int:
        """Those that are open, and those that are being made."""
        return self._connections + self._coming

    # Swarms, which enter when they start.

    def enter(self, swarm: Tenant) -> None:
        """``swarm`` is open, as the youngest."""
        self._swarms[id(swarm)] = swarm

    def touch(self, swarm: Tenant) -> None:
        """``swarm`` was of use just now."""
        if self._swarms.pop(id(swarm), None) is not None:
            self._swarms[id(swarm)] = swarm

    def leave(self, swarm: Tenant) -> None:
        """``swarm`` is closed, or about to be; may be called twice."""
        self._swarms.pop(id(swarm), None)
        self._freed.set()

    def make_room(self) -> bool:
        """Whether one more swarm may be opened; the oldest idle one goes for it if need be."""
        if len(self._swarms) < self.limits.swarms_max:
            return True
        oldest = next((one for one in self._swarms.values() if one.idle), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.retire()
        metrics.SWARMS_MADE_WAY.inc()
        return len(self._swarms) < self.limits.swarms_max

    def refused_swarm(self) -> Unavailable:
        """Why a swarm is not opened."""
        return self._refused(
            SWARMS, f"too many blobs at once: in {self.limits.swarms_max} swarms at most "
            "(peer.limits.swarms_max)"
        )  # fmt: skip

    # Connections.

    def opened(self) -> None:
        """A connection is part of a swarm."""
        self._connections += 1
        metrics.PEER_CONNECTIONS.inc()

    def closed(self) -> None:
        """It is no more."""
        self._connections -= 1
        metrics.PEER_CONNECTIONS.dec()
        self._freed.set()

    @contextmanager
    def coming(self, dialed: Dialed) -> Iterator[None]:
        """A connection is being made, or greeted, for as long as the block runs.

        Raises:
            Unavailable: it would be one too many.

        """
        most = self.limits.connections_max
        if dialed is Dialed.BY_THEM:
            most -= most // OWN_SHARE
        if self.connections >= most:
            raise self._refused_connection()
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            self._freed.set()

    async def room(self) -> None:
        """Wait until a pull may open a swarm and dial; it has room as long as nothing is awaited.

        Raises:
            Unavailable: there is none for ``ROOM_S``, and which limit that is.

        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + ROOM_S
        while True:
            self._freed.clear()
            crowded = self.connections >= self.limits.connections_max
            if not crowded and self.make_room():
                return
            if loop.time() >= until_s:
                raise self._refused_connection() if crowded else self.refused_swarm()
            await happens(self._freed, LOOK_S)

    def _refused_connection(self) -> Unavailable:
        return self._refused(
            CONNECTIONS, f"too many connections to peers: {self.limits.connections_max} at most "
            "(peer.limits.connections_max)"
        )  # fmt: skip

    def _refused(self, limit: str, words: str) -> Unavailable:
        metrics.LIMITED.labels(self._service, limit).inc()
        log.info("peer.limited", limit=limit)
        return Unavailable(words, public=words, limit=limit)
