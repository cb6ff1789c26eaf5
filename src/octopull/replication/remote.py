"""One remote while it is in the rules: its connections, and its tasks worked off."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from octopull.backends import registry
from octopull.backends.circuit import asked_s
from octopull.backends.registry_place import place_of_remote
from octopull.backends.rests import Rests
from octopull.clients.origin import OriginCluster
from octopull.config.backends import WriteBackSettings
from octopull.config.replication import RemoteSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.observability import logs, metrics
from octopull.replication.blobs import BlobCopies
from octopull.replication.book import Book
from octopull.replication.images import ImageCopies
from octopull.replication.rules import Route
from octopull.replication.rules_file import RulesFile
from octopull.replication.telling import Outcome, Telling
from octopull.runtime.tasks import Tasks
from octopull.storage.task_lane import Queue, TaskLane
from octopull.storage.task_table import Task

log = logs.get("replication")
LOOK_S = 0.5
"""How often the book is asked for new tasks: a change may count that nobody was told of."""

PAUSE_S_MAX = 300.0
"""The longest until a tag is tried again that the remote would not have."""

UNRULED = "the rules no longer send it there"


class RemoteTasks(Queue, Protocol):
    """The tasks of all remotes in the book."""

    def release(self, task: Task) -> None:
        """Let a taken task be taken again, if it is still there."""
        ...

    def release_all(self, lane: str) -> None:
        """Nobody works on the tasks of ``lane`` any longer."""
        ...

    def end_or_renew(self, task: Task, begun_s: float) -> None:
        """End a task that was begun then (seconds since the epoch). Blocks.

        If it was added again since it was taken, it stays, and is no older than that.
        """
        ...

    async def failed(self, task: Task, reason: str, pause_s: float) -> None:
        """Have it tried again in ``pause_s``."""
        ...


class _Looked:
    """Tasks as a lane takes them, that looks for new ones without being told."""

    def __init__(self, tasks: RemoteTasks) -> None:
        self._tasks = tasks

    async def take(self, lane: str, count: int) -> list[Task]:
        return await self._tasks.take(lane, count)

    async def pause_s(self, lane: str) -> float | None:
        pause_s = await self._tasks.pause_s(lane)
        return LOOK_S if pause_s is None else min(pause_s, LOOK_S)


class Remote:
    """Tells a remote of what the tasks of ``lane`` name, by the rules of ``file``."""

    def __init__(
        self, settings: RemoteSettings, file: RulesFile, lane: str, telling: Telling,
        tasks: RemoteTasks,
    ) -> None:  # fmt: skip
        self.settings = settings
        self._file = file
        self.telling = telling
        self._tasks = tasks
        self._rests = Rests(settings.retry_s, settings.retry_s_max)
        self._pauses = WriteBackSettings(retry_s=settings.retry_s, retry_s_max=PAUSE_S_MAX)
        self._lane = TaskLane(_Looked(tasks), lane, settings.tags_at_once, self._work)

    def route(self, repository: str) -> Route | None:
        """What of a repository goes there now; None if nothing does."""
        return self._file.rules.route(repository, self.settings.name)

    @property
    def failing(self) -> str:
        """Why nothing gets there; empty if something does."""
        return self._rests.failing

    async def run(self) -> None:
        """Work on until cancelled."""
        try:
            async with Tasks() as working:
                await self._lane.run(working)
        finally:
            self._tasks.release_all(self._lane.name)

    async def _work(self, task: Task) -> None:
        try:
            async with self._rests.turn():
                await self._attempt(task)
        finally:
            self._tasks.release(task)

    async def _attempt(self, task: Task) -> None:
        begun_s = time.time()
        route = self.route(task.key.split(" ")[0])
        if route is None:
            # As when the remote leaves the rules: in case it comes back.
            await self._tasks.failed(task, UNRULED, PAUSE_S_MAX)
            return
        try:
            if self.failing:
                # The others need not wait until the first large image is through.
                await self._probe(task)
                self._rests.worked()
            outcome = await self._tell(task, route)
        except Fault as fault:
            await self._failed(task, fault)
        else:
            self._rests.worked()
            metrics.REPLICATION_TAGS.labels(self.settings.name, outcome.value).inc()
            log.info("replicated", remote=self.settings.name, what=task.key, outcome=outcome.value)
            await asyncio.to_thread(self._tasks.end_or_renew, task, begun_s)

    async def _probe(self, task: Task) -> None:
        """Ask the remote something that costs little; raises UpstreamFailed if it does not answer."""
        repository, reference = task.key.split(" ")
        if ":" in reference:
            await self.telling.images.has(repository, Digest.parse(reference))
        else:
            await self.telling.stands_for(TagName(repository, reference))

    async def _tell(self, task: Task, route: Route) -> Outcome:
        repository, reference = task.key.split(" ")
        if ":" in reference:
            return await self.telling.manifest(repository, Digest.parse(reference), route)
        return await self.telling.tag(TagName(repository, reference), route)

    async def _failed(self, task: Task, fault: Fault) -> None:
        name = self.settings.name
        metrics.REPLICATION_FAILURES.labels(name).inc()
        log.warning("replication.failed", remote=name, what=task.key, attempts=task.attempts + 1,
                    reason=str(fault))  # fmt: skip
        pause_s = self._pauses.pause_s(task.attempts)
        if isinstance(fault, UpstreamFailed) and not _about_itself(fault):
            self._rests.failed(str(fault), asked_s(fault))
            if "status" not in fault.details:
                # It rests as a whole; once it can be reached, nothing need wait for itself.
                pause_s = self.settings.retry_s
        await self._tasks.failed(task, str(fault), pause_s)


def _about_itself(fault: UpstreamFailed) -> bool:
    """Whether the remote answers, and refuses this alone."""
    status = fault.details.get("status")
    return isinstance(status, int) and 400 <= status < 500 and status not in {408, 429}


@asynccontextmanager
async def opened_remote(
    settings: RemoteSettings, file: RulesFile, lane: str, origins: OriginCluster, book: Book,
    tasks: RemoteTasks,
) -> AsyncIterator[Remote]:  # fmt: skip
    """A remote, with connections of its own; it need not be there yet."""
    async with registry.opened(place_of_remote(settings)) as opened:
        blobs = BlobCopies(opened, origins, book, file)
        images = ImageCopies(opened, origins, blobs, book, settings.streams)
        yield Remote(settings, file, lane, Telling(opened, images, book), tasks)
