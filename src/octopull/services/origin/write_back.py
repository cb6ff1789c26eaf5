"""Pushed blobs to the backends: durable tasks, worked off until each blob is there.

A task is added when its blob is durable here, before the push is acknowledged, and ends when the
backend has the blob. Each owner has a task of its own: the first in line goes at once, further
ones look later whether it is done. What a backend has is marked, and may then leave the disk.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from octopull.backends.circuit import asked_s
from octopull.backends.contract import BlobName
from octopull.backends.rests import Rests
from octopull.clients.write_back import BackendProgress, WriteBackProgress, measure
from octopull.config.backends import BackendSettings, WriteBackSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Fault, NotFound, Unavailable, UpstreamFailed
from octopull.observability import logs, metrics
from octopull.runtime.tasks import Tasks
from octopull.runtime.turns import Turns
from octopull.services.origin.carrying import carry, digest_of, prefix
from octopull.services.origin.ring import Ring
from octopull.services.origin.sources import Sources
from octopull.storage.blob_file import BlobFile
from octopull.storage.disk import DiskStore
from octopull.storage.task_lane import TaskLane
from octopull.storage.task_queue import TaskQueue
from octopull.storage.task_table import NewTask, Task, oldest_s

log = logs.get("origin")
SMALL_BYTES = 1024 * 1024
SMALL_AT_ONCE = 4
"""How many small blobs are on their way for each large one."""


class WriteBack:
    """The tasks of one origin of ``ring``; ``sources`` knows each namespace's backend.

    A task's key is ``<digest> <namespace>``, its payload the namespace, and its lane
    ``<backend> <small or large>``.
    """

    def __init__(
        self, queue: TaskQueue, store: DiskStore, ring: Ring, sources: Sources,
        backends: Sequence[BackendSettings], settings: WriteBackSettings,
    ) -> None:  # fmt: skip
        self.queue = queue
        self.turns = Turns()
        self._store = store
        self.backend_of = sources.written
        self._condemned = sources.condemned
        self.backends = {one.label: one for one in backends}
        self._settings = settings
        self._ring = ring
        self._lanes: dict[str, TaskLane] = {}
        self._rests = {
            label: Rests(settings.retry_s, settings.retry_s_max) for label in self.backends
        }

    async def start(self, tasks: Tasks) -> None:
        """Work within ``tasks``, on what an earlier process left, too."""
        left = [count.lane for count in await self.queue.counts()]
        ours = [f"{label} {kind}" for label in self.backends for kind in ("small", "large")]
        # Lanes of backends that are no longer configured: their tasks go elsewhere, or end.
        for lane in dict.fromkeys([*ours, *left]):
            many = SMALL_AT_ONCE if lane.endswith(" small") else 1
            at_once = self._settings.at_once * many
            self._lanes[lane] = TaskLane(self.queue, lane, at_once, self._work)
            tasks.start(self._lanes[lane].run(tasks), f"write back {lane}")
        gauges = metrics.WRITE_BACK_OLDEST_SECONDS, metrics.WRITE_BACK_PENDING
        tasks.start(measure(self.progress, *gauges), "measure write-back")

    @asynccontextmanager
    async def owing(
        self, namespace: str, digest: Digest, *, there: bool = False
    ) -> AsyncIterator[None]:
        """Pin a blob of the store; when the block ends well, its task is durable.

        If it is known to be ``there``, where the task would bring it, it is marked instead.

        Raises:
            NotFound: the blob isn't here. Unavailable: the disk fails.

        """
        if there and digest not in self._condemned:
            yield
            await asyncio.to_thread(self._store.mark_backed, digest, namespace)
            return
        if self.backend_of(namespace) is None:
            yield
            return
        with await asyncio.to_thread(self._store.open, digest) as file:
            yield
            lane = self._lane(namespace, file.size)
            if lane is not None:
                await self._add(lane, namespace, digest)

    async def owe(self, namespace: str, sizes: Mapping[Digest, int]) -> None:
        """A manifest of ``namespace`` refers to blobs that are here, by their sizes in bytes.

        Those not known to be there get tasks: they may have been pushed under another name, or
        before there was a backend.

        Raises:
            Unavailable: the disk fails.

        """
        if self.backend_of(namespace) is None:
            return

        def unknown() -> list[Digest]:
            return [one for one in sizes if namespace not in self._store.backed_under(one)]

        owed = await asyncio.to_thread(unknown)
        lanes = ((self._lane(namespace, sizes[one]), one) for one in owed)
        adds = [self._add(lane, namespace, one) for lane, one in lanes if lane is not None]
        await asyncio.gather(*adds)

    async def owed(self, digests: Sequence[Digest]) -> dict[Digest, list[str]]:
        """The namespaces under which each is still to be written."""
        found = await self.queue.payloads([prefix(digest) for digest in digests])
        return dict(zip(digests, found, strict=True))

    async def _add(self, lane: str, namespace: str, digest: Digest) -> None:
        place = len(self._ring.before(digest))
        due_s = self.queue.now_s() + place * self._settings.stagger_s
        key = f"{prefix(digest)}{namespace}"
        await self.queue.add(NewTask(lane=lane, key=key, payload=namespace, due_s=due_s))
        self._lanes[lane].added()

    def _lane(self, namespace: str, size: int) -> str | None:
        """Where a blob's task belongs; None if it goes to no backend."""
        backend = self.backend_of(namespace)
        if backend is None or not backend.writable:
            return None
        if size > self.backends[backend.name].blob_bytes_max:
            return None
        return f"{backend.name} {'small' if size <= SMALL_BYTES else 'large'}"

    # Working tasks off.

    async def _work(self, task: Task) -> None:
        rests = self._rests.get(task.lane.rpartition(" ")[0])
        if rests is None:
            await self._end(task, None)
            return
        async with rests.turn():
            await self._end(task, rests)

    async def _end(self, task: Task, rests: Rests | None) -> None:
        """Have the blob where it belongs; ``rests`` are those of the lane's backend, if it is ours."""
        digest = digest_of(task)
        async with self.turns.of(digest):
            try:
                file = await asyncio.to_thread(self._store.open, digest)
            except NotFound:
                log.info("write_back.gone", digest=digest.short, namespace=task.payload)
                await self.queue.done(task)
                return
            with file:
                try:
                    lane = await self._bring(task, file, rests)
                except Fault as fault:
                    await self._failed(task, fault, rests)
                    return
        if lane is None:
            await self.queue.done(task)
        else:
            await self.queue.move(task, lane)
            self._lanes[lane].added()

    async def _bring(self, task: Task, file: BlobFile, rests: Rests | None) -> str | None:
        """Another lane if the task belongs there by now; else it is done."""
        lane, backend = self._lane(task.payload, file.size), self.backend_of(task.payload)
        if file.digest in self._condemned:
            raise Unavailable("another origin is about to delete it there")
        if lane is None or backend is None:
            log.info("write_back.nowhere", digest=file.digest.short, namespace=task.payload)
            return None
        if lane != task.lane:
            return lane
        await carry(self._store, file, backend, BlobName(task.payload, file.digest))
        if rests is not None:
            rests.worked()
        return None

    async def _failed(self, task: Task, fault: Fault, rests: Rests | None) -> None:
        label = task.lane.rpartition(" ")[0]
        metrics.WRITE_BACK_FAILURES.labels(label).inc()
        log.warning("write_back.failed", backend=label, digest=digest_of(task).short,
                    attempts=task.attempts + 1, reason=str(fault))  # fmt: skip
        pause_s = self._settings.pause_s(task.attempts)
        if isinstance(fault, UpstreamFailed) and rests is not None:
            rests.failed(str(fault), asked_s(fault))
        elif isinstance(fault, Corrupt):
            pause_s = self._settings.retry_s_max  # Nothing but a new push mends it.
        await self.queue.failed(task, str(fault), pause_s)

    # What can be seen.

    async def progress(self) -> WriteBackProgress:
        """What is pending, for each backend."""
        counts = await self.queue.counts()
        pending = dict.fromkeys(self.backends, 0)
        for count in counts:
            label = count.lane.rpartition(" ")[0]
            pending[label] = pending.get(label, 0) + count.pending
        backends = [
            BackendProgress(name=label, pending=number, failing=self._failing(label))
            for label, number in pending.items()
        ]
        return WriteBackProgress(
            pending=sum(pending.values()), backends=backends,
            oldest_s=oldest_s(counts, self.queue.now_s()),
        )  # fmt: skip

    def _failing(self, label: str) -> str:
        return self._rests[label].failing if label in self._rests else ""
