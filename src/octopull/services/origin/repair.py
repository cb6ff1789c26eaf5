"""Copies that are lost come back: an origin fetches what it owns and lacks from the others.

Every so often, and first when it starts, it compares with each other origin what both own:
fingerprints of ranges, and digests of the ranges that differ. Then it takes what the other only
keeps for it. Each origin mends its own disk alone, at its own pace, so one that comes with an
empty disk is filled by all others, and a limit holds however many they are.
"""

import asyncio
import random
from collections.abc import AsyncIterator

from aiohttp import StreamReader

from octopull.clients import holdings
from octopull.clients.holders import blob_url
from octopull.clients.holdings import Holding, Kind
from octopull.config.services import RepairSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.observability import logs, metrics
from octopull.placement.fingerprints import differing
from octopull.runtime.bandwidth import Bucket, Rate, pay
from octopull.runtime.tasks import each, happens
from octopull.services.origin.inventory import Inventory
from octopull.services.origin.ring import Ring
from octopull.services.origin.uploads import Taker
from octopull.services.origin.write_back import WriteBack
from octopull.storage.disk import NS_PER_S, DiskStore

log = logs.get("origin")
NAMESPACE = "repair"
"""Blobs are asked for by their digests; a namespace only completes the path."""

BODY_IDLE_S = 30.0
JITTER = 0.2
AGAIN_S = 5.0
"""Until an origin is asked again that does not know us yet; twice as long each further time."""

FAILURES_MAX = 4
"""In a row: then the other hangs, or a disk is full, and the next comparison may do better."""


class Repair:
    """Mends ``store`` from the other origins of ``ring``."""

    def __init__(
        self, http: Http, store: DiskStore, taker: Taker, ring: Ring, inventory: Inventory,
        write_back: WriteBack, settings: RepairSettings,
    ) -> None:  # fmt: skip
        self._http = http
        self._store = store
        self._taker = taker
        self._ring = ring
        self._inventory = inventory
        self._write_back = write_back
        self._settings = settings
        self._bucket = Bucket(Rate(settings.bytes_per_s))
        self._asked = asyncio.Event()
        self._failures = 0
        self._unknown = False
        ring.members.on_change(self.soon)

    def soon(self) -> None:
        """A copy has gone, or the ring is another: do not wait for the next comparison's time."""
        self._asked.set()

    async def run(self) -> None:
        """Compare and mend, until cancelled."""
        again_s = AGAIN_S
        while self._settings.every_s:
            self._asked.clear()
            self._unknown = False
            for host in self._ring.others:
                await self._compare(host)
            pause_s = self._settings.every_s
            if self._unknown:
                # It will hear of us as we heard of it; but may as well have an old list.
                pause_s, again_s = min(pause_s, again_s), 2 * again_s
            else:
                again_s = AGAIN_S
            await happens(self._asked, pause_s * random.uniform(1 - JITTER, 1 + JITTER))

    async def _compare(self, host: str) -> None:
        name, self._failures = self._ring.name, 0
        try:
            theirs = await holdings.fingerprints(self._http, host, name)
            ours = await self._inventory.fingerprints(host)
            for number in differing(ours, theirs):
                await self._fill(host, holdings.holdings(
                    self._http, host, name, Kind.SHARED, number))  # fmt: skip
            await self._fill(host, holdings.holdings(self._http, host, name, Kind.STRAY))
        except (Fault, OSError) as fault:
            self._unknown |= isinstance(fault, NotFound)
            log.warning("repair.broken_off", host=host, reason=str(fault))

    async def _fill(self, host: str, pages: AsyncIterator[list[Holding]]) -> None:
        """Fetch what is lacking here of what ``host`` holds.

        Raises:
            Fault: ``host`` does not say what that is, or fails again and again, or our disk does.

        """

        async def fetch(one: Holding) -> None:
            await self._fetch(host, one)

        async for page in pages:
            # Negative if a clock was ahead then, by days perhaps, in which a copy would be lacking.
            settled = [one for one in page if abs(one.untouched_s) >= self._settings.settle_s]
            await each(await self._lacking(settled), fetch, self._settings.at_once)

    async def _lacking(self, found: list[Holding]) -> list[Holding]:
        def lacks(one: Holding) -> bool:
            digest = Digest.parse(one.digest)
            return self._ring.name in self._ring.owners(digest) and not self._store.has(digest)

        return await asyncio.to_thread(lambda: [one for one in found if lacks(one)])

    async def _fetch(self, host: str, one: Holding) -> None:
        digest = Digest.parse(one.digest)
        url = f"{blob_url(host, NAMESPACE, digest)}?whole=1"
        # As old as the copy it is made from: garbage must not be young again at each repair.
        touched_ns = self._store.now_ns() - int(one.untouched_s * NS_PER_S)
        try:
            async with self._http.stream("GET", url, idle_s=BODY_IDLE_S) as response:
                body = _Paced(response.content, self._bucket)
                await self._taker.take(body, digest, lone=one.lone, touched_ns=touched_ns)
            for namespace in one.owed:
                async with self._write_back.owing(namespace, digest):
                    pass
        except Fault as fault:
            metrics.REPAIRS_FAILED.inc()
            log.warning("repair.failed", digest=digest.short, host=host, reason=str(fault))
            self._failures += isinstance(fault, Unavailable)
            if self._failures >= FAILURES_MAX:
                raise
            return
        self._failures = 0
        metrics.BLOBS_REPAIRED.inc()
        log.info("repair.done", digest=digest.short, host=host, size=one.size)


class _Paced:
    """``body`` at the pace of ``bucket``."""

    def __init__(self, body: StreamReader, bucket: Bucket) -> None:
        self._body = body
        self._bucket = bucket

    async def iter_any(self) -> AsyncIterator[bytes]:
        async for chunk in self._body.iter_any():
            await pay(self._bucket, len(chunk))
            yield chunk
