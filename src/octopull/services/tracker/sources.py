"""What a tracker learns from origins and keeps for a while: metainfo, and where they listen."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from octopull.blob import start
from octopull.clients.origin import OriginCluster
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.kernel.peers import Peer
from octopull.observability import logs
from octopull.storage.memory import MemoryCache

log = logs.get("tracker")
PEER_S = 10.0
"""How long an origin's peer address counts; a failed question counts as long."""

TOLD_S = 1.0
"""How long the same answer is given for a digest."""

TOLD_MAX = 10_000


class MetainfoCache:
    """Encoded metainfo and starts, which never change; the least recently used go first.

    One question per digest is under way at a time, however many ask.
    """

    def __init__(self, origins: OriginCluster, bytes_max: int) -> None:
        self._origins = origins
        self._metainfo: MemoryCache[bytes] = MemoryCache(bytes_max // 2)
        self._starts: MemoryCache[bytes] = MemoryCache(bytes_max // 2)
        self._asking: dict[Digest, asyncio.Task[bytes]] = {}
        self._beginning: dict[Digest, asyncio.Task[None]] = {}

    async def get(self, namespace: str, digest: Digest) -> bytes:
        """The encoded metainfo.

        Raises:
            NotFound: no origin has the blob. Unavailable: not all could be asked.

        """
        kept = self._metainfo.get(digest)
        if kept is not None:
            return kept
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
        if not task.cancelled() and task.exception() is None:
            self._metainfo.put(digest, task.result(), len(task.result()))

    async def starts(self, namespace: str, digests: Sequence[Digest]) -> list[bytes]:
        """Encoded starts of those of ``digests`` that an origin can tell of now."""
        lacking = [one for one in digests if one not in self._starts]
        fresh = [one for one in lacking if one not in self._beginning]
        if fresh:
            task = asyncio.get_running_loop().create_task(self._begin(namespace, fresh))
            self._beginning.update(dict.fromkeys(fresh, task))
            task.add_done_callback(lambda _: self._begun(fresh))
        tasks = {self._beginning[one] for one in lacking if one in self._beginning}
        if tasks:
            await asyncio.wait(tasks)
        return [kept for one in digests if (kept := self._starts.get(one)) is not None]

    async def _begin(self, namespace: str, digests: Sequence[Digest]) -> None:
        for one in await self._origins.starts(namespace, digests):
            encoded = start.encode(one)
            self._starts.put(one.digest, encoded, len(encoded))

    def _begun(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self._beginning.pop(digest, None)


class OriginPeers:
    """Where the owners of a digest listen for peers."""

    def __init__(self, origins: OriginCluster) -> None:
        self._origins = origins
        self._known: dict[str, tuple[float, Peer | None]] = {}
        self._told: dict[str, tuple[float, list[msgspec.Raw]]] = {}

    async def encoded(self, digest: str) -> list[msgspec.Raw]:
        """The owners' peers as JSON, best first; those that don't answer are left out."""
        until, told = self._told.get(digest, (0.0, []))
        if until <= time.monotonic():
            found = [await self._peer(host) for host in self._origins.owners(Digest.parse(digest))]
            told = [msgspec.Raw(msgspec.json.encode(peer)) for peer in found if peer is not None]
            if len(self._told) >= TOLD_MAX:
                self._told.clear()
            self._told[digest] = (time.monotonic() + TOLD_S, told)
        return told

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
