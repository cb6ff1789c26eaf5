"""Blobs that leave an origin: evicted if a backend has them, or collected as garbage."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from octopull.backends.contract import BlobBackend, BlobName
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.observability import logs, metrics
from octopull.runtime.tasks import each
from octopull.services.origin.carrying import digest_of, prefix
from octopull.services.origin.condemned import CONDEMNED_S
from octopull.services.origin.copies import Copies
from octopull.services.origin.refresh import Refresh
from octopull.services.origin.sources import Sources
from octopull.services.origin.write_back import WriteBack
from octopull.storage.disk import DiskStore
from octopull.storage.task_table import Task, TaskTable

log = logs.get("origin")
DELETES_AT_ONCE = 16
DELETE_S = 20.0
"""How long backends may take to delete what was collected at once."""

MARGIN_S = 10.0
Places = Mapping[Digest, Sequence[str]]
"""The namespaces under which backends may have a blob."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What may be deleted from backends once it is collected here: all but the ``spared``.

    An origin that has a blob may rely on the backend. It collects it later, or keeps it: the last
    one that collects it deletes it there. ``started_s`` is of the monotonic clock.
    """

    places: Places
    spared: set[Digest]
    started_s: float


class Leaving:
    """Blobs of ``store``, which ``write_back`` brings to backends."""

    def __init__(
        self, write_back: WriteBack, store: DiskStore, copies: Copies, refresh: Refresh,
        sources: Sources,
    ) -> None:  # fmt: skip
        self._queue = write_back.queue
        self._backend_of = write_back.backend_of
        self._turns = write_back.turns
        self._deleting = {one.label for one in write_back.backends.values() if one.deletes}
        self._store = store
        self._copies = copies
        self._refresh = refresh
        self._sources = sources
        self._condemned = sources.condemned

    async def evict(self, digest: Digest, before_ns: int) -> int | None:
        """Remove a blob that is elsewhere, that no task needs, and that was not touched since.

        Its size in bytes; None if it stays.
        """

        def evict(table: TaskTable) -> int | None:
            # In the queue's thread, so that no task for it comes meanwhile.
            if table.contains(prefix(digest)) or not self._can_return(digest):
                return None
            return self._store.evict(digest, before_ns)

        return await self._queue.run(evict)

    def _can_return(self, digest: Digest) -> bool:
        """Whether what has the blob is still configured."""
        names = self._store.backed_under(digest)
        return any(self._sources.of(namespace, digest) is not None for namespace in names)

    async def condemn(self, digests: Sequence[Digest]) -> list[Digest]:
        """Let nobody here rely on backends having ``digests``; those that are here, or on their
        way, so that somebody may rely on it already.
        """
        self._condemned.add(digests)
        fetching = [digest for digest in digests if self._refresh.is_fetching(digest)]
        here = await asyncio.to_thread(lambda: [one for one in digests if self._store.has(one)])
        return list(dict.fromkeys([*fetching, *here]))

    async def sentence(self, digests: Sequence[Digest]) -> Sentence:
        """Prepare that ``digests`` are deleted from backends, too, as far as that is asked for."""
        started_s = time.monotonic()
        if not self._deleting:
            return Sentence({}, set(), started_s)
        self._condemned.add(digests)
        spared = {digest for digest in digests if self._refresh.is_fetching(digest)}
        try:
            spared |= await self._copies.condemn_elsewhere(digests)
        except Fault as fault:
            log.warning("backend.deletes_unsafe", blobs=len(digests), reason=str(fault))
            return Sentence({}, set(digests), started_s)

        def find() -> Places:
            return {digest: self._store.backed_under(digest) for digest in digests}

        return Sentence(await asyncio.to_thread(find), spared, started_s)

    async def collected(self, gone: Iterable[Digest], sentence: Sentence) -> None:
        """Blobs were collected: end their tasks, and delete them where that is asked for.

        What is not deleted within ``DELETE_S`` stays in the backend; it is logged and counted.
        ``gone`` are among those that ``sentence`` is about.
        """
        digests = list(gone)
        dropped = await self._queue.run(lambda table: self._drop(table, digests))
        under = [(one, namespace) for one in digests for namespace in sentence.places.get(one, ())]
        under += [(digest_of(task), task.payload) for task in dropped]
        left = {
            BlobName(namespace, digest): backend
            for digest, namespace in under
            if digest not in sentence.spared
            and (backend := self._backend_of(namespace)) is not None
            and backend.name in self._deleting
        }
        if left:
            await self._delete_all(left, sentence.started_s + CONDEMNED_S - MARGIN_S)
        self._condemned.pardon(sentence.places)

    async def _delete_all(self, left: dict[BlobName, BlobBackend], ends_s: float) -> None:
        async def delete(blob: BlobName) -> None:
            if await self._delete(left[blob], blob):
                del left[blob]

        # Whoever was told that the blobs are condemned forgets it after ``ends_s``.
        try:
            async with asyncio.timeout(min(DELETE_S, ends_s - time.monotonic())):
                await each(list(left), delete, DELETES_AT_ONCE)
        except TimeoutError:
            log.warning("backend.deletes_unfinished", left=len(left))
        for backend in left.values():
            metrics.BACKEND_DELETES_FAILED.labels(backend.name).inc()

    def _drop(self, table: TaskTable, digests: Sequence[Digest]) -> list[Task]:
        # What was pushed again meanwhile may have a new task.
        return [
            task for one in digests if not self._store.has(one) for task in table.drop(prefix(one))
        ]

    async def _delete(self, backend: BlobBackend, blob: BlobName) -> bool:
        """Whether nothing is left to be deleted there."""
        async with self._turns.of(blob.digest):
            # Pushed again: its task looks whether the backend has it after we are done.
            if await asyncio.to_thread(self._store.has, blob.digest):
                return True
            try:
                await backend.delete(blob)
            except Fault as fault:
                log.warning("backend.delete_failed", backend=backend.name,
                            digest=blob.digest.short, reason=str(fault))  # fmt: skip
                return False
        return True
