"""What a tracker learns from origins and keeps for a while: metainfo, and where they listen."""

import asyncio
import time
from collections import OrderedDict

from octopull.clients.origin import OriginCluster
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.kernel.peers import Peer
from octopull.observability import logs

log = logs.get("tracker")
PEER_S = 10.0
"""How long an origin's peer address counts; a failed question counts as long."""


class MetainfoCache:
    """Encoded metainfo, which never changes; the least recently used goes beyond the limit.

    One question per digest is under way at a time, however many ask.
    """

    def __init__(self, origins: OriginCluster, bytes_max: int) -> None:
        self._origins = origins
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._asking: dict[Digest, asyncio.Task[bytes]] = {}

    async def get(self, namespace: str, digest: Digest) -> bytes:
        """The encoded metainfo.

        Raises:
            NotFound: no origin has the blob. Unavailable: not all could be asked.

        """
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest]
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._ask(namespace, digest))
            self._asking[digest] = asking
            asking.add_done_callback(lambda task: self._answered(digest, task))
        return await asyncio.shield(asking)

    async def _ask(self, namespace: str, digest: Digest) -> bytes:
        return (await self._origins.metainfo(namespace, digest)).encode()

    def _answered(self, digest: Digest, task: asyncio.Task[bytes]) -> None:
        self._asking.pop(digest, None)
        if task.cancelled() or task.exception() is not None:
            return
        self._kept[digest] = task.result()
        self._bytes += len(task.result())
        while self._bytes > self._bytes_max and self._kept:
            self._bytes -= len(self._kept.popitem(last=False)[1])


class OriginPeers:
    """Where the owners of a digest listen for peers."""

    def __init__(self, origins: OriginCluster) -> None:
        self._origins = origins
        self._known: dict[str, tuple[float, Peer | None]] = {}

    async def of(self, digest: Digest) -> list[Peer]:
        """The owners' peers, best first; those that don't answer are left out."""
        found = [await self._peer(host) for host in self._origins.owners(digest)]
        return [peer for peer in found if peer is not None]

    async def _peer(self, host: str) -> Peer | None:
        until, peer = self._known.get(host, (0.0, None))
        if until <= time.monotonic():
            try:
                peer = await self._origins.peer(host)
            except Fault as fault:
                log.warning("origin.silent", host=host, reason=str(fault))
                peer = None
            self._known[host] = (time.monotonic() + PEER_S, peer)
        return peer
