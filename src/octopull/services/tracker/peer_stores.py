"""Where a tracker keeps who is in which swarm: the port, and which store a config means."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from octopull.clients.tracker import SwarmStatus
from octopull.config.services import TrackerConfig
from octopull.kernel.peers import Peer
from octopull.placement.peer_table import PeerTable, Swarm
from octopull.services.tracker.memory_peers import MemoryPeers
from octopull.services.tracker.redis_peers import opened_redis


class PeerStore(Protocol):
    """Who is in which swarm, as far as they said so lately. Times are monotonic seconds."""

    async def announce(self, peer: Peer, swarms: Sequence[SwarmStatus], now: float) -> None:
        """``peer`` is in ``swarms``; then ``swarm`` knows what there is to know of each.

        Never fails, and never waits for longer than the store's ``timeout_s``.
        """

    def swarm(self, info_hash: str) -> Swarm:
        """Who is in the swarm; an empty one if nobody is known."""

    def expire(self, now: float) -> None:
        """Forget those who fell silent."""


@asynccontextmanager
async def opened(config: TrackerConfig) -> AsyncIterator[PeerStore]:
    """The store that ``config`` names; its server need not be up.

    Raises:
        Misuse: what it takes is not installed, or a file it needs can't be read.

    """
    table = PeerTable(config.peer_ttl_s)
    if not config.peer_store.url:
        yield MemoryPeers(table)
        return
    async with opened_redis(config.peer_store, table) as peers:
        yield peers
