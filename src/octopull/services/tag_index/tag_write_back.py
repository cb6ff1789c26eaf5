"""What changed here to the stores of tags: durable tasks, worked off until each store knows."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from octopull.backends.circuit import asked_s
from octopull.backends.contract import TagBackend
from octopull.backends.rests import Rests
from octopull.backends.tag_opening import OpenedTags
from octopull.clients.write_back import BackendProgress, WriteBackProgress, measure
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, Unsupported, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.observability import logs, metrics
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.store import TagStore
from octopull.services.tag_index.tag_sources import TagSources
from octopull.services.tag_index.tag_tasks import key_of
from octopull.storage.task_lane import TaskLane
from octopull.storage.task_table import Task, oldest_s

log = logs.get("tag_index")
WAIT_S = 2.0
"""How long a push waits for the store, so that who reads there sees it at once."""

LEFT_AT_ONCE = 4
"""Tasks at once of a store that is no longer configured."""


class TagWriteBack:
    """Tells the stores of ``sources`` what the tasks of ``store`` name.

    ``changed`` is told of each tag that a store was told of. ``confirm``, where several
    tag indexes share the book, raises Unavailable if another leads by now, which knows better.
    """

    def __init__(
        self, store: TagStore, sources: TagSources, changed: Callable[[TagName], None],
        confirm: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._confirm = confirm
        self._store = store
        self._tasks = store.tasks
        self._sources = sources
        self._changed = changed
        self._opened = {one.lane: one for one in sources.backends.all if one.lane}
        self._lanes: dict[str, TaskLane] = {}
        self._waiting: dict[str, asyncio.Event] = {}
        self._rests: dict[str, Rests] = {}
        for lane, one in self._opened.items():
            pauses = one.settings.write_back
            self._rests[lane] = Rests(pauses.retry_s, pauses.retry_s_max)

    async def start(self, tasks: Tasks) -> None:
        """Work within ``tasks``, on what an earlier process left, too."""
        self._waiting.clear()
        left = [count.lane for count in await self._tasks.counts()]
        for lane in dict.fromkeys([*self._opened, *left]):
            opened = self._opened.get(lane)
            at_once = LEFT_AT_ONCE if opened is None else opened.settings.write_back.at_once
            self._lanes[lane] = TaskLane(self._tasks, lane, at_once, self._work)
            tasks.start(self._lanes[lane].run(tasks), f"write back {lane}")
        gauges = metrics.TAG_WRITE_BACK_OLDEST_SECONDS, metrics.TAG_WRITE_BACK_PENDING
        tasks.start(measure(self.progress, *gauges), "measure write-back")

    async def told(self, repository: str, references: Iterable[str]) -> None:
        """Have the store told of tags and digests that have tasks; waits up to ``WAIT_S`` for it.

        A store that fails is not waited for.
        """
        lane = self._sources.lane_of(repository)
        if lane not in self._lanes:
            return
        self._lanes[lane].added()
        if self._rests[lane].failing:
            return
        keys = {one: key_of(repository, one) for one in references}
        events = {one: self._waiting.setdefault(key, asyncio.Event()) for one, key in keys.items()}
        pending = await asyncio.to_thread(self._tasks.of, repository)
        for reference in events.keys() - pending:
            self._wake(keys[reference])
        try:
            async with asyncio.timeout(WAIT_S):
                for event in events.values():
                    await event.wait()
        except TimeoutError:
            log.info("tags.not_waited_for", repository=repository, backend=lane)

    def _wake(self, key: str) -> None:
        event = self._waiting.pop(key, None)
        if event is not None:
            event.set()

    # Working tasks off.

    async def _work(self, task: Task) -> None:
        try:
            repository, reference = task.key.split(" ")
            lane = self._sources.lane_of(repository)
            if lane != task.lane:
                await self._tasks.move(task, lane)
                if lane:
                    self._lanes[lane].added()
                return
            async with self._rests[lane].turn():
                await self._attempt(task, self._opened[lane], repository, reference)
        finally:
            self._tasks.release(task)

    async def _attempt(
        self, task: Task, opened: OpenedTags, repository: str, reference: str
    ) -> None:
        try:
            if ":" in reference:
                await self._tell_manifest(opened, repository, Digest.parse(reference))
            else:
                await self._tell_tag(opened, TagName(repository, reference))
        except Fault as fault:
            await self._failed(task, fault)
            self._wake(task.key)
            return
        self._rests[task.lane].worked()
        # If it changed again meanwhile, it stays, and who waits does.
        if await asyncio.to_thread(self._store.told, task, opened.settings.url):
            self._wake(task.key)

    async def _tell_tag(self, opened: OpenedTags, name: TagName) -> None:
        try:
            digest = (await asyncio.to_thread(self._store.standing, name)).digest
            if digest is None:
                if self._confirm is not None:
                    await self._confirm()
                await opened.tags.delete(name)
                return
            if opened.links is not None:
                reach = await asyncio.to_thread(self._store.reach, digest)
                await opened.links.record(name.repository, reach.manifests, reach.blobs)
            await self._put(opened.tags, name, digest)
        finally:
            # Even if it failed: it may have been done.
            self._changed(name)

    async def _put(self, tags: TagBackend, name: TagName, digest: Digest) -> None:
        """Put the tag, but not over what the store was told by one that leads since."""
        if self._confirm is None:
            await tags.put(name, digest)
            return
        try:
            expected = (await tags.get(name)).version
        except NotFound:
            expected = None
        await self._confirm()
        try:
            await tags.put_if(name, digest, expected)
        except Unsupported:
            await tags.put(name, digest)

    async def _tell_manifest(self, opened: OpenedTags, repository: str, digest: Digest) -> None:
        if opened.links is None:
            return
        if await asyncio.to_thread(self._store.recorded, repository, digest):
            reach = await asyncio.to_thread(self._store.reach, digest)
            await opened.links.record(repository, reach.manifests, reach.blobs)
        else:
            await opened.links.forget(repository, digest)

    async def _failed(self, task: Task, fault: Fault) -> None:
        metrics.TAG_WRITE_BACK_FAILURES.labels(task.lane).inc()
        log.warning("write_back.failed", backend=task.lane, what=task.key,
                    attempts=task.attempts + 1, reason=str(fault))  # fmt: skip
        if isinstance(fault, UpstreamFailed):
            self._rests[task.lane].failed(str(fault), asked_s(fault))
        pauses = self._opened[task.lane].settings.write_back
        await self._tasks.failed(task, str(fault), pauses.pause_s(task.attempts))

    # What can be seen.

    async def progress(self) -> WriteBackProgress:
        """What is pending, for each store."""
        counts = {count.lane: count for count in await self._tasks.counts()}
        backends = [
            BackendProgress(
                name=lane, pending=counts[lane].pending if lane in counts else 0,
                failing=self._rests[lane].failing if lane in self._rests else "",
            )
            for lane in dict.fromkeys([*self._opened, *counts])
        ]  # fmt: skip
        return WriteBackProgress(
            pending=sum(one.pending for one in backends), backends=backends,
            oldest_s=oldest_s(counts.values(), time.time()),
        )  # fmt: skip
