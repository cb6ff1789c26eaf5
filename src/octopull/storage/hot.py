"""Whole blobs on a local disk, the small ones that were used lately in memory, too.

Manifests and configurations are read by everyone and again and again; from memory they cost no
disk and no thread.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, TooLarge
from octopull.observability import metrics
from octopull.storage.blob_file import BlobFile
from octopull.storage.disk import NS_PER_S, DiskStore
from octopull.storage.entry import Entry
from octopull.storage.memory import MemoryCache

ENTRY_BYTES = 1024
"""What a blob in memory costs beside its bytes: digest, books, and what the allocator rounds up."""


@dataclass(slots=True)
class _Hot:
    """A blob's proven bytes, and when they were last used (seconds since the epoch)."""

    content: bytes
    used_s: float


class HotStore(DiskStore):
    """A ``DiskStore`` whose small blobs may be had from memory. Calls may come from any thread.

    Invariants:

    * what is in memory was proven against its digest, on the way in;
    * a blob comes into memory only while it is pinned, and goes when the disk's goes: what was
      deleted, collected or evicted is in memory no more when that call returns;
    * the blobs in memory, ``ENTRY_BYTES`` for each included, take at most ``bytes_max``.

    A blob that is used in memory alone is not the least recently used one for eviction:
    ``entries`` tells the later of both uses, and writes it to the disk, for the next start.
    """

    def __init__(
        self, root: Path, bytes_max: int, blob_bytes_max: int,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self._small_bytes = min(blob_bytes_max, bytes_max - ENTRY_BYTES)
        self._hot: MemoryCache[_Hot] = MemoryCache(bytes_max)
        # Never held over the disk: the event loop takes it. Innermost of the store's locks.
        self._hot_lock = threading.Lock()
        super().__init__(root, now_ns)

    def content(self, digest: Digest) -> bytes | None:
        """The whole blob if it is in memory; never waits, and counts as an access."""
        with self._hot_lock:
            hot = self._hot.get(digest)
            if hot is None:
                return None
            hot.used_s = self.now_ns() / NS_PER_S
        metrics.MEMORY_HITS.inc()
        return hot.content

    async def get(self, digest: Digest) -> bytes | BlobFile:
        """As ``take``: at once if the blob is in memory, else by a thread."""
        content = self.content(digest)
        return await asyncio.to_thread(self.take, digest) if content is None else content

    def take(self, digest: Digest) -> bytes | BlobFile:
        """The whole blob if it is small, and then in memory from now on; else as ``open``.

        Raises:
            NotFound: it isn't here. Corrupt: it is small, and the disk has damaged it.

        """
        content = self.content(digest)
        if content is not None:
            return content
        blob = self.open(digest)
        if blob.size > self._small_bytes:
            return blob
        with blob:
            content = blob.read(0, blob.size)
            if not digest.proves(content):
                raise self._damaged(blob)
            self._keep_hot(digest, content)
        metrics.MEMORY_MISSES.inc()
        return content

    def read(self, digest: Digest, bytes_max: int) -> bytes:
        """The whole blob.

        Raises:
            NotFound: it isn't here. TooLarge: it is beyond ``bytes_max``. Corrupt: as ``take``.

        """
        taken = self.take(digest)
        if isinstance(taken, BlobFile):
            taken.close()
            return super().read(digest, bytes_max)
        if len(taken) > bytes_max:
            raise TooLarge("the blob is beyond the limit", bytes_max=bytes_max)
        return taken

    def put(self, digest: Digest, content: bytes) -> None:
        """As ``DiskStore.put``; who puts a small blob has a reader for it."""
        super().put(digest, content)
        if len(content) <= self._small_bytes:
            try:
                # Pinned, so that no delete comes between the look at the disk and the books.
                with self.open(digest):
                    self._keep_hot(digest, content)
            except NotFound:
                pass  # Deleted again already.

    def entries(self) -> Iterator[Entry]:
        """Every blob, in no order; those that go meanwhile may be missed."""
        for entry in super().entries():
            with self._hot_lock:
                hot = self._hot.peek(entry.digest)
                used_s = 0.0 if hot is None else hot.used_s
            if used_s > entry.last_access_s:
                self.accessed(entry.digest, used_s)
                yield replace(entry, last_access_s=used_s)
            else:
                yield entry

    def _remove(self, digest: Digest) -> None:
        try:
            super()._remove(digest)
        finally:
            with self._hot_lock:
                before_bytes = self._hot.bytes
                self._hot.drop(digest)
                metrics.MEMORY_BYTES.inc(self._hot.bytes - before_bytes)

    def _keep_hot(self, digest: Digest, content: bytes) -> None:
        """Put proven bytes into memory; the blob must be pinned."""
        with self._hot_lock:
            before_bytes = self._hot.bytes
            hot = _Hot(content, self.now_ns() / NS_PER_S)
            self._hot.put(digest, hot, len(content) + ENTRY_BYTES)
            metrics.MEMORY_BYTES.inc(self._hot.bytes - before_bytes)
