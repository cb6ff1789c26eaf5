"""An origin's disk as a cache of what is elsewhere, too: when blobs leave it."""

import asyncio
import time

from octopull.config.services import CacheSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.observability import logs, metrics
from octopull.services.origin.leaving import Leaving
from octopull.storage.disk import NS_PER_S, DiskStore
from octopull.storage.eviction import EvictionPolicy, disk_share, victims

log = logs.get("origin")
TOUCHED_S = 60.0
"""A blob that was pushed or found by a client so lately stays: its manifest follows."""


class Caching:
    """Applies ``cache`` to the blobs of ``store`` that are elsewhere, too; others stay."""

    def __init__(self, store: DiskStore, leaving: Leaving, cache: CacheSettings) -> None:
        self._store = store
        self._leaving = leaving
        self._policy = EvictionPolicy.of(cache)
        self._scan_s = cache.scan_s

    async def run(self) -> None:
        """Look every ``scan_s``, until cancelled."""
        while True:
            try:
                await self.scan()
            except (Fault, OSError) as error:
                log.warning("evict.failed", reason=str(error))
            await asyncio.sleep(self._scan_s)

    async def scan(self) -> list[Digest]:
        """Once; returns what went."""
        before_ns = self._store.now_ns() - int(TOUCHED_S * NS_PER_S)
        gone: list[Digest] = []
        for digest in await asyncio.to_thread(self._victims, before_ns):
            size = await self._leaving.evict(digest, before_ns)
            if size is not None:
                metrics.BLOBS_EVICTED.inc()
                log.info("blob.evicted", digest=digest.short, size=size)
                gone.append(digest)
        return gone

    def _victims(self, before_ns: int) -> list[Digest]:
        used_bytes, total_bytes = disk_share(self._store.root)
        before_s = before_ns / NS_PER_S
        able = (one for one in self._store.entries() if one.backed and one.touched_s < before_s)
        return victims(able, self._policy, used_bytes, total_bytes, time.time())
