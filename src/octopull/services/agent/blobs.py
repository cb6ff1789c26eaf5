"""The blobs of one host: from the cache if they are there, else through the swarm."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from octopull.blob.metainfo import Metainfo
from octopull.blob.start import Described, Inline
from octopull.clients.fetching import patient
from octopull.clients.tracker import TrackerClient
from octopull.http.streams import BlobSource, MemoryBlob
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    Fault,
    NotFound,
    Pending,
    TooLarge,
    Unavailable,
    UpstreamFailed,
)  # fmt: skip
from octopull.observability import logs, metrics
from octopull.runtime.tasks import Tasks
from octopull.services.agent.download import Download
from octopull.services.agent.following import follow
from octopull.services.agent.starts import Starts
from octopull.storage import partial
from octopull.storage.blob_file import BlobFile, begun
from octopull.storage.hot import HotStore
from octopull.storage.partial import Partial
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Handshake, Reason
from octopull.transport.node import PeerNode
from octopull.transport.seeds import Seeds
from octopull.transport.swarm import Swarm

log = logs.get("agent")
RETRY_S = 0.2
RETRY_S_MAX = 2.0
DOWNLOADS_MAX = 1000
"""Blobs on their way at once."""

SEEDING_MAX = 1000
"""Downloads that seed on; the oldest leaves for one more, and is opened again when asked for."""


class Blobs:
    """The agent's cache, its downloads (one per digest), and its seeds."""

    def __init__(
        self, store: HotStore, tracker: TrackerClient, tasks: Tasks, metainfo_wait_s: float,
        limits: SwarmLimits,
    ) -> None:  # fmt: skip
        self._store = store
        self._tracker = tracker
        self._tasks = tasks
        self._metainfo_wait_s = metainfo_wait_s
        self._limits = limits
        self._seeds = Seeds(store, self._limits)
        self._starts = Starts(store, tracker, tasks)
        self._downloads: dict[Digest, Download] = {}
        self._starting: dict[Digest, asyncio.Task[Download]] = {}
        self._node: PeerNode | None = None
        loop = asyncio.get_running_loop()

        def damaged(digest: Digest) -> None:
            loop.call_soon_threadsafe(self._damaged, digest)

        store.on_damaged = damaged

    def _damaged(self, digest: Digest) -> None:
        """A blob of the cache is none any more; here nobody wants what is left of it."""
        self._seeds.close(digest, Reason.SHUTDOWN)
        download = self._downloads.get(digest)
        if download is not None and download.committed:
            download.leave()
        self._store.aside(digest).unlink(missing_ok=True)

    def attach(self, node: PeerNode) -> None:
        """Say which node carries the swarms; once, before the first blob."""
        self._node = node

    def swarms(self) -> list[Swarm]:
        """Every swarm this host is in."""
        return [download.swarm for download in self._downloads.values()] + self._seeds.swarms()

    async def find(self, theirs: Handshake) -> Swarm | None:
        """The swarm a stranger's handshake is for."""
        assert self._node is not None
        download = self._downloads.get(theirs.digest)
        if download is not None:
            same = download.outline.info_hash == theirs.info_hash.hex()
            return download.swarm if same else None
        return await self._seeds.answer(self._node, theirs)

    def expect(self, namespace: str, digests: Sequence[Digest]) -> None:
        """Somebody will soon ask for ``digests``: learn how to begin with them."""
        self._starts.expect(namespace, digests)

    async def size(self, namespace: str, digest: Digest) -> int:
        """Bytes of the blob, without fetching it.

        Raises:
            NotFound: the cluster lacks it. Unavailable: nobody can tell.

        """
        pending = self._starts.content(digest)
        content = self._store.content(digest) if pending is None else pending
        if content is not None:
            return len(content)
        try:
            return await asyncio.to_thread(self._store.stat, digest)
        except NotFound:
            if digest in self._downloads:
                return self._downloads[digest].size
            return (await self._metainfo(namespace, digest)).outline.layout.size

    @asynccontextmanager
    async def open(self, namespace: str, digest: Digest) -> AsyncIterator[BlobSource]:
        """The blob as a body that may still be arriving.

        Raises:
            NotFound: the cluster lacks it. Unavailable: nobody can tell.

        """
        source = await self._source(namespace, digest)
        try:
            if isinstance(source, Download) and source.size == 0:
                await source.wait()
            yield source
        finally:
            if isinstance(source, BlobFile):
                source.close()

    async def _source(self, namespace: str, digest: Digest) -> BlobFile | MemoryBlob | Download:
        content = self._starts.content(digest)
        if content is not None:
            return MemoryBlob(content)
        try:
            return await self._stored(digest)
        except NotFound:
            pass
        except Corrupt:
            log.warning("cache.damaged", digest=digest.short)
            await self._leave(digest)
        return await self._begin(namespace, digest)

    async def _stored(self, digest: Digest) -> BlobFile | MemoryBlob:
        taken = await self._store.get(digest)
        if isinstance(taken, bytes):
            return MemoryBlob(taken)
        if taken.size:
            await begun(taken)
        return taken

    async def _begin(self, namespace: str, digest: Digest) -> BlobFile | MemoryBlob | Download:
        """A blob that is not here: in memory if it is small, else on its way."""
        if digest in self._downloads or digest in self._starting:
            return await self._download(namespace, digest, None)
        start = await self._starts.of(namespace, digest)
        if isinstance(start, Inline):
            return MemoryBlob(start.content)
        if start is None:
            # It may have reached the disk since we looked.
            with contextlib.suppress(NotFound):
                return await self._stored(digest)
        return await self._download(namespace, digest, start)

    async def read(self, namespace: str, digest: Digest, bytes_max: int) -> bytes:
        """The whole of a small blob, such as a manifest.

        Raises:
            as ``open``; TooLarge: beyond ``bytes_max``.

        """
        async with self.open(namespace, digest) as source:
            if source.size > bytes_max:
                raise TooLarge("beyond the limit", bytes_max=bytes_max)
            if isinstance(source, MemoryBlob):
                return source.content
            if isinstance(source, Download):
                await source.wait()
            return await asyncio.to_thread(self._store.read, digest, bytes_max)

    async def fetch(self, namespace: str, digest: Digest) -> None:
        """Until the blob is in the cache.

        Raises:
            as ``open``, and what its download failed of.

        """
        async with self.open(namespace, digest) as source:
            if isinstance(source, Download):
                await source.wait()
            elif isinstance(source, MemoryBlob):
                # It may be too much to be written behind.
                await asyncio.to_thread(self._store.put, digest, source.content)

    def arrived_bytes(self, digest: Digest) -> int:
        """Proven bytes of a blob on its way; 0 if it isn't."""
        download = self._downloads.get(digest)
        return 0 if download is None else download.swarm.have_bytes

    def is_arriving(self, digest: Digest) -> bool:
        """Whether the blob is on its way to the store."""
        download = self._downloads.get(digest)
        return digest in self._starting or (download is not None and not download.committed)

    async def delete(self, digest: Digest) -> None:
        """Drop the blob from this host.

        Raises:
            NotFound: it isn't here. Unavailable: it is being read.

        """
        self._seeds.close(digest, Reason.SHUTDOWN)
        pending = self._starts.forget(digest)
        await self._leave(digest)
        try:
            await asyncio.to_thread(self._store.delete, digest)
        except NotFound:
            if not pending:
                raise

    async def _leave(self, digest: Digest) -> None:
        """Seed a blob no longer, if it is whole."""
        download = self._downloads.get(digest)
        if download is not None and download.whole:
            with contextlib.suppress(Fault):
                await download.wait()  # What never reached the store need not leave it.
            download.leave()
            await download.closed()

    async def _download(
        self, namespace: str, digest: Digest, described: Described | None
    ) -> Download:
        """The download of ``digest``, started if there is none; shared by all who ask."""
        while (current := self._downloads.get(digest)) is not None:
            if not current.closing:
                return current
            await current.closed()
            self._downloads.pop(digest, None)
        starting = self._starting.get(digest)
        if starting is None:
            if self._arriving >= DOWNLOADS_MAX:
                metrics.LIMITED.labels("agent", "downloads").inc()
                words = f"too many blobs on their way at once: {DOWNLOADS_MAX} at most"
                raise Unavailable(words, most=DOWNLOADS_MAX)
            # Shared: one caller that leaves must not take the others' download with it.
            starting = asyncio.get_running_loop().create_task(
                self._start(namespace, digest, described)
            )
            self._starting[digest] = starting
            starting.add_done_callback(lambda task: self._started(digest, task))
        return await asyncio.shield(starting)

    def _started(self, digest: Digest, task: asyncio.Task[Download]) -> None:
        self._starting.pop(digest, None)
        if not task.cancelled():
            task.exception()

    @property
    def _arriving(self) -> int:
        """Downloads that are not whole yet."""
        under_way = sum(not download.committed for download in self._downloads.values())
        return under_way + len(self._starting)

    async def _start(self, namespace: str, digest: Digest, described: Described | None) -> Download:
        assert self._node is not None
        if described is None:
            described = await self._metainfo(namespace, digest)
        opened = await asyncio.to_thread(Partial.open, self._store, described)
        try:
            await self._node.places.room()
        except BaseException:
            opened.close()
            raise
        download = Download(self._node, opened, described, namespace, self._limits)
        self._downloads[digest] = download
        download.start(self._tasks, self._ended)
        if not isinstance(described, Metainfo):
            self._tasks.start(follow(download, self._tracker), f"follow {digest.short}")
        return download

    def _ended(self, download: Download) -> None:
        self._tasks.start(self._seed_on(download), "seed on")
        seeding = [one for one in self._downloads.values() if one.committed]
        if len(seeding) > SEEDING_MAX:
            seeding[0].leave()

    async def _seed_on(self, download: Download) -> None:
        """A finished download seeds until it is idle; the blob is pinned for as long."""
        digest = download.outline.digest
        try:
            if download.failure is None:
                with await asyncio.to_thread(self._store.open, digest):
                    await download.retired()
        except Fault as fault:
            log.warning("seed.failed", digest=digest.short, reason=str(fault))
        finally:
            await download.close(Reason.DONE)
            if self._downloads.get(digest) is download:
                del self._downloads[digest]

    def drop_idle_partials(self, idle: Sequence[Digest]) -> list[Digest]:
        """Delete those of ``idle`` that no download of ours is at work on; returns them."""
        mine = self._downloads.keys() | self._starting.keys()
        gone = [digest for digest in idle if digest not in mine]
        for digest in gone:
            partial.remove(self._store, digest)
        return gone

    async def _metainfo(self, namespace: str, digest: Digest) -> Described:
        """From a tracker, waiting for one to come up for as long as the config says.

        Raises:
            NotFound: the cluster lacks the blob. Unavailable: nobody could tell in time.
            Pending, UpstreamFailed: it does not come from its upstream.

        """

        async def ask() -> Described:
            return await self._tracker.metainfo(namespace, digest)

        until, pause_s = time.monotonic() + self._metainfo_wait_s, RETRY_S
        while True:
            try:
                return await patient(ask, self._metainfo_wait_s)
            except (Pending, UpstreamFailed):
                raise
            except Unavailable as fault:
                if time.monotonic() + pause_s > until:
                    raise
                log.info("metainfo.waiting", digest=digest.short, reason=str(fault))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_S_MAX)

    async def close(self) -> None:
        """Leave every swarm."""
        self._seeds.close_all()
        for download in list(self._downloads.values()):
            await download.close(Reason.SHUTDOWN)
        self._downloads.clear()
