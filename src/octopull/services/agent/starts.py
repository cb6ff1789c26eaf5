"""Blobs of one piece: asked for by the image, served from memory, written to the cache behind.

A manifest names every blob that its reader will want next. So when one is read, a tracker is
asked at once how to begin with all of them: small ones come whole with the answer, large
ones' metainfo is at hand when their download starts.
"""

import asyncio
from collections.abc import Sequence

from octopull.blob.metainfo import Metainfo
from octopull.blob.start import STARTS_MAX, Inline, Plain
from octopull.clients.tracker import TrackerClient
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound
from octopull.observability import logs
from octopull.runtime.tasks import Tasks
from octopull.storage.disk import DiskStore
from octopull.storage.memory import MemoryCache

log = logs.get("agent")
METAINFO_BYTES_MAX = 32 * 1024 * 1024
PENDING_BYTES_MAX = 32 * 1024 * 1024
"""Small blobs that wait for the disk; beyond it they are served, and not cached."""

SETTLE_S = 0.05
"""Writing waits so long, so that an image's pull is over before the disk is busy with it."""


class Starts:
    """How to begin with blobs, asked of a tracker for many at once.

    Invariant: a small blob is in ``_pending`` until the store has it.
    """

    def __init__(self, store: DiskStore, tracker: TrackerClient, tasks: Tasks) -> None:
        self._store = store
        self._tracker = tracker
        self._tasks = tasks
        self._metainfo: MemoryCache[Metainfo] = MemoryCache(METAINFO_BYTES_MAX)
        self._pending: dict[Digest, bytes] = {}
        self._pending_bytes = 0
        self._writing = False
        self._asking: dict[Digest, asyncio.Task[dict[Digest, Plain]]] = {}

    def content(self, digest: Digest) -> bytes | None:
        """The bytes of a small blob that the disk has not yet."""
        return self._pending.get(digest)

    def expect(self, namespace: str, digests: Sequence[Digest]) -> None:
        """Ask for those of ``digests`` that nobody asked for and the store lacks."""
        fresh = [
            digest
            for digest in dict.fromkeys(digests)
            if digest not in self._asking
            and digest not in self._pending
            and digest not in self._metainfo
        ]
        if fresh:
            self._begin(namespace, fresh[:STARTS_MAX])

    async def of(self, namespace: str, digest: Digest) -> Plain | None:
        """How to begin with ``digest``; None if no tracker could tell."""
        content = self._pending.get(digest)
        if content is not None:
            return Inline(digest, content)
        kept = self._metainfo.get(digest)
        if kept is not None:
            return kept
        asking = self._asking.get(digest) or self._begin(namespace, [digest])
        return (await asyncio.shield(asking)).get(digest)

    def _begin(
        self, namespace: str, digests: Sequence[Digest]
    ) -> "asyncio.Task[dict[Digest, Plain]]":
        # Shared: one caller that leaves must not take the others' answer with it.
        task = asyncio.get_running_loop().create_task(self._ask(namespace, digests))
        self._asking.update(dict.fromkeys(digests, task))
        task.add_done_callback(lambda _: self._asked(digests))
        return task

    def _asked(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self._asking.pop(digest, None)

    async def _ask(self, namespace: str, digests: Sequence[Digest]) -> dict[Digest, Plain]:
        try:
            lacking = await asyncio.to_thread(self._lacking, digests)
            found = await self._tracker.starts(namespace, lacking) if lacking else []
        except Fault as fault:
            log.info("starts.failed", reason=str(fault), blobs=len(digests))
            return {}
        for one in found:
            if isinstance(one, Inline):
                self._add(one)
            elif isinstance(one, Metainfo):
                self._metainfo.put(one.digest, one, len(one.piece_hashes) * 32)
        return {one.digest: one for one in found}

    def _lacking(self, digests: Sequence[Digest]) -> list[Digest]:
        lacking = []
        for digest in digests:
            try:
                self._store.stat(digest)
            except NotFound:
                lacking.append(digest)
        return lacking

    # Into the cache.

    def _add(self, blob: Inline) -> None:
        size = len(blob.content)
        if blob.digest in self._pending or self._pending_bytes + size > PENDING_BYTES_MAX:
            return
        self._pending[blob.digest] = blob.content
        self._pending_bytes += size
        if not self._writing:
            self._writing = True
            self._tasks.start(self._write(), "cache small blobs")

    async def _write(self) -> None:
        try:
            await asyncio.sleep(SETTLE_S)
            while self._pending:
                digest, content = next(iter(self._pending.items()))
                try:
                    await asyncio.to_thread(self._store.put, digest, content)
                    if not self.forget(digest):
                        # Deleted while it was being written.
                        await asyncio.to_thread(self._store.delete, digest)
                except Fault as fault:
                    log.warning("cache.failed", digest=digest.short, reason=str(fault))
                    self.forget(digest)
        finally:
            self._writing = False

    def forget(self, digest: Digest) -> bool:
        """Drop what memory has of ``digest``; whether its bytes were waiting for the disk."""
        self._metainfo.drop(digest)
        content = self._pending.pop(digest, None)
        self._pending_bytes -= len(content or b"")
        return content is not None
