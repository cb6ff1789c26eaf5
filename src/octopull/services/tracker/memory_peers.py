"""A ``PeerStore`` in this process's memory."""

from collections.abc import Sequence

from octopull.clients.tracker import SwarmStatus
from octopull.kernel.peers import Peer
from octopull.placement.peer_table import PeerTable, Swarm


class MemoryPeers:
    """What this tracker was told, and nothing else."""

    def __init__(self, table: PeerTable) -> None:
        self._table = table

    async def announce(self, peer: Peer, swarms: Sequence[SwarmStatus], now: float) -> None:
        for swarm in swarms:
            self._table.announce(swarm.info_hash, peer, now, complete=swarm.complete)

    def swarm(self, info_hash: str) -> Swarm:
        return self._table.swarm(info_hash)

    def expire(self, now: float) -> None:
        self._table.expire(now)
