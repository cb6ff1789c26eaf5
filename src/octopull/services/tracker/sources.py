"""What a tracker learns from origins and keeps for a while: metainfo, and where they listen."""

import asyncio
import math
import time
from collections.abc import Sequence

import msgspec

from octopull.blob import start
from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.start import Start, plain
from octopull.clients.binding import Binding
from octopull.clients.origin import OriginCluster
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, Pending, Unavailable
from octopull.kernel.peers import Peer
from octopull.observability import logs
from octopull.storage.memory import MemoryCache

log = logs.get("tracker")
PEER_S = 10.0
"""How long an origin's peer address counts."""

SILENT_S = 1.0
"""How long an origin that did not answer is not asked again: it may be back soon."""

WAIT_S = 0.5
"""How long an announce waits for an origin's word; one that hangs must not hold up the others."""

TOLD_S = 1.0
"""How long the same answer is given for a digest."""

TOLD_MAX = 10_000

FRESH_S = 60.0
"""How long metainfo and starts count: after that a collected blob is no longer told of."""

LEARNT_MAX = 1_000_000

Kept = tuple[bytes, float]
"""An encoded start, and when its seal ends in Unix time."""


class MetainfoCache:
    """Encoded metainfo and starts, which never change; the least recently used go first.

    One question per digest is under way at a time, however many ask. What was learnt counts
    for ``fresh_s``: a blob may be collected meanwhile. While origins are silent, it counts on, until
    the certificate ends by which it is sealed. Metainfo that grows is told to who asks and not kept.
    """

    def __init__(
        self, origins: OriginCluster, bytes_max: int, fresh_s: float = FRESH_S,
        binding: Binding | None = None,
    ) -> None:  # fmt: skip
        self._origins = origins
        self._fresh_s = fresh_s
        self._binding = binding or Binding(None)
        self._learnt_s: dict[Digest, float] = {}
        self._metainfo: MemoryCache[Kept] = MemoryCache(bytes_max // 2)
        self._starts: MemoryCache[Kept] = MemoryCache(bytes_max // 2)
        self._asking: dict[Digest, asyncio.Task[tuple[Start, float]]] = {}
        self._beginning: dict[Digest, asyncio.Task[dict[Digest, bytes]]] = {}

    async def get(self, namespace: str, digest: Digest) -> bytes:
        """The encoded start with the metainfo.

        Raises:
            NotFound: no origin has the blob. Unavailable: not all could be asked.

        """
        kept = self._kept(self._metainfo, digest)
        if kept is not None and self._is_fresh(digest):
            return kept
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._ask(namespace, digest))
            self._asking[digest] = asking
            asking.add_done_callback(lambda task: self._answered(digest, task))
        try:
            return start.encode((await asyncio.shield(asking))[0])
        except Pending:
            raise
        except Unavailable:
            if kept is None:
                raise
            return kept

    async def _ask(self, namespace: str, digest: Digest) -> tuple[Start, float]:
        told = await self._origins.sealed_metainfo(namespace, digest)
        return await self._binding.checked(told)

    def _kept(self, cache: MemoryCache[Kept], digest: Digest) -> bytes | None:
        """What ``cache`` has, unless it is worth nothing any more."""
        encoded, ends_at = cache.get(digest) or (None, math.inf)
        return encoded if self._binding.now_s() < ends_at else None

    def _is_fresh(self, digest: Digest) -> bool:
        return time.monotonic() < self._learnt_s.get(digest, -math.inf) + self._fresh_s

    def _learn(self, cache: MemoryCache[Kept], one: Start, ends_at: float) -> None:
        encoded, digest = start.encode(one), one.digest
        cache.put(digest, (encoded, ends_at), len(encoded))
        self._learnt_s.pop(digest, None)
        self._learnt_s[digest] = time.monotonic()
        while len(self._learnt_s) > LEARNT_MAX:
            del self._learnt_s[next(iter(self._learnt_s))]

    def _forget(self, digest: Digest) -> None:
        self._metainfo.drop(digest)
        self._starts.drop(digest)

    def _answered(self, digest: Digest, task: asyncio.Task[tuple[Start, float]]) -> None:
        self._asking.pop(digest, None)
        if task.cancelled():
            return
        fault = task.exception()
        if fault is None:
            found, ends_at = task.result()
            if isinstance(plain(found), Metainfo):
                self._learn(self._metainfo, found, ends_at)
        elif isinstance(fault, NotFound):
            self._forget(digest)

    async def starts(self, namespace: str, digests: Sequence[Digest]) -> list[bytes]:
        """Encoded starts of those of ``digests`` that an origin can tell of now."""
        lacking = [one for one in digests
                   if self._kept(self._starts, one) is None or not self._is_fresh(one)]  # fmt: skip
        fresh = [one for one in lacking if one not in self._beginning]
        if fresh:
            task = asyncio.get_running_loop().create_task(self._begin(namespace, fresh))
            self._beginning.update(dict.fromkeys(fresh, task))
            task.add_done_callback(lambda _: self._begun(fresh))
        tasks = {self._beginning[one] for one in lacking if one in self._beginning}
        growing: dict[Digest, bytes] = {}
        if tasks:
            for task in (await asyncio.wait(tasks))[0]:
                growing |= task.result()
        found = (self._kept(self._starts, one) or growing.get(one) for one in digests)
        return [one for one in found if one is not None]

    async def _begin(self, namespace: str, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        """Learn how to begin with ``digests``; those that grow are returned."""
        missing, growing = set(digests), dict[Digest, bytes]()
        for told in await self._origins.starts(namespace, digests):
            one, ends_at = await self._binding.checked(told)
            missing.discard(one.digest)
            if isinstance(plain(one), Growing):
                growing[one.digest] = start.encode(one)
            else:
                self._learn(self._starts, one, ends_at)
        for digest in missing:
            if digest in self._starts:
                await self._check(namespace, digest)
        return growing

    async def _check(self, namespace: str, digest: Digest) -> None:
        """Forget what no origin has any more; if they are silent, it counts on."""
        try:
            await self._origins.stat(namespace, digest)
        except NotFound:
            self._forget(digest)
        except Fault as fault:
            log.info("start.unchecked", digest=digest.short, reason=str(fault))

    def _begun(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self._beginning.pop(digest, None)


class OriginPeers:
    """Where the owners of a digest listen for peers."""

    def __init__(self, origins: OriginCluster) -> None:
        self._origins = origins
        self._known: dict[str, tuple[float, Peer | None]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, tuple[float, list[msgspec.Raw]]] = {}

    async def encoded(self, digest: str) -> list[msgspec.Raw]:
        """The owners' peers as JSON, best first; those that don't answer are left out."""
        until, told = self._told.get(digest, (0.0, []))
        if until <= time.monotonic():
            owners = self._origins.seeds(Digest.parse(digest))
            asking = [self._ask(host) for host in owners if self._is_due(host)]
            # Who hangs is waited for by whoever asked first; who was never heard of by all.
            asking += [self._asking[host] for host in owners
                       if host in self._asking and host not in self._known]  # fmt: skip
            if asking:
                await asyncio.wait(asking, timeout=WAIT_S)
            found = [self._known.get(host, (0.0, None))[1] for host in owners]
            told = [msgspec.Raw(msgspec.json.encode(peer)) for peer in found if peer is not None]
            if len(self._told) >= TOLD_MAX:
                self._told.clear()
            self._told[digest] = (time.monotonic() + TOLD_S, told)
        return told

    def _is_due(self, host: str) -> bool:
        until, _ = self._known.get(host, (0.0, None))
        return until <= time.monotonic() and host not in self._asking

    def _ask(self, host: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._learn(host))
        self._asking[host] = task
        task.add_done_callback(lambda _: self._asking.pop(host))
        return task

    async def _learn(self, host: str) -> None:
        try:
            peer = await self._origins.peer(host)
            self._known[host] = time.monotonic() + PEER_S, peer
        except Fault as fault:
            log.warning("origin.silent", host=host, reason=str(fault))
            self._known[host] = time.monotonic() + SILENT_S, None
