"""Blobs that an origin holds and does not own leave once all their owners have them.

A push goes to any origin, the next in line stands in for an owner that is away, and a ring that
changes gives blobs other owners: without this, disks would fill with copies that nobody asked for.
"""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from octopull.clients import holdings, keeping
from octopull.config.services import RepairSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.observability import logs, metrics
from octopull.services.origin.carrying import prefix
from octopull.services.origin.inventory import told
from octopull.services.origin.ring import Ring
from octopull.storage.disk import NS_PER_S, DiskStore
from octopull.storage.task_queue import TaskQueue
from octopull.storage.task_table import TaskTable

log = logs.get("origin")
NAMESPACE = "strays"
"""Blobs are asked for by their digests; a namespace only completes the path."""

JITTER = 0.2
PAGE = keeping.DIGESTS_MAX


class Strays:
    """Those of ``store``, as ``ring`` says; tasks in ``queue`` may need them still."""

    def __init__(
        self, http: Http, store: DiskStore, ring: Ring, queue: TaskQueue, settings: RepairSettings
    ) -> None:
        self._http = http
        self._store = store
        self._ring = ring
        self._queue = queue
        self._settings = settings

    async def run(self) -> None:
        """Look as often as repair does, until cancelled."""
        while self._settings.every_s:
            try:
                await self.clear()
            except (Fault, OSError) as fault:
                log.warning("strays.stay", reason=str(fault))
            await asyncio.sleep(self._settings.every_s * random.uniform(1 - JITTER, 1 + JITTER))

    async def clear(self) -> None:
        """Remove every stray that all its owners hold and that nothing here needs.

        Raises:
            Fault: an origin of the ring does not answer, or a disk fails.

        """
        if not self._ring.settled:
            return
        # What is touched from here on stays. Owners touch what they are asked for below, so of
        # two origins that each take the other for the owner at most one removes its copy.
        before_ns = self._store.now_ns() - int(self._settings.settle_s * NS_PER_S)
        strays = self._strays(before_ns)
        while page := await asyncio.to_thread(lambda: list(itertools.islice(strays, PAGE))):
            if not (self._ring.settled and await self._agreed()):
                return
            for digest in await self._held_by_owners(page):
                await self._remove(digest, before_ns)

    def _strays(self, before_ns: int) -> Iterator[Digest]:
        for digest in self._store.digests():
            if self._ring.name in self._ring.owners(digest):
                continue
            entry = self._store.entry(digest)
            if entry is None or entry.touched_s * NS_PER_S >= before_ns:
                continue
            # What a backend has leaves when the disk is full, what is lone when it is released.
            if not (entry.backed or entry.lone or entry.pinned):
                yield digest

    async def _agreed(self) -> bool:
        """Whether all origins of the ring were told of the same ring.

        Raises:
            Fault: one does not answer.

        """
        ours = told(self._ring)
        for host in self._ring.others:
            if await holdings.ring(self._http, host) != ours:
                log.info("strays.stay", reason="another origin was told of another ring", host=host)
                return False
        return True

    async def _held_by_owners(self, page: Sequence[Digest]) -> Iterable[Digest]:
        asked = defaultdict[str, list[Digest]](list)
        for digest in page:
            for host in self._ring.owners(digest):
                asked[host].append(digest)
        held = dict.fromkeys(page, True)
        for host, digests in asked.items():
            found = await keeping.keep(self._http, host, NAMESPACE, digests, book="")
            held.update(dict.fromkeys(set(digests) - found.keys(), False))
        return [digest for digest, everywhere in held.items() if everywhere]

    async def _remove(self, digest: Digest, before_ns: int) -> None:
        def remove(table: TaskTable) -> int | None:
            # In the queue's thread, so that no task for it comes meanwhile.
            return (
                None if table.contains(prefix(digest)) else self._store.collect(digest, before_ns)
            )

        size = await self._queue.run(remove)
        if size is not None:
            metrics.STRAYS_REMOVED.inc()
            log.info("stray.removed", digest=digest.short, size=size)
