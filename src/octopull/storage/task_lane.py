"""One lane of a task queue, worked off: oldest first, a few at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from octopull.kernel.errors import Fault
from octopull.observability import logs
from octopull.runtime.tasks import Tasks, happens
from octopull.storage.task_table import Task

log = logs.get("storage")
AGAIN_S = 1.0
"""Until the queue is asked again after it failed."""


class Queue(Protocol):
    """Where tasks come from: a ``TaskQueue``, or a table beside what the tasks are about."""

    async def take(self, lane: str, count: int) -> list[Task]:
        """Up to ``count`` tasks that are due and not taken."""
        ...

    async def pause_s(self, lane: str) -> float | None:
        """Seconds until one that is not taken falls due; None if there is none."""
        ...


class TaskLane:
    """Has up to ``at_once`` tasks of the lane ``name`` worked on by ``work``.

    ``work`` ends each by ``done``, ``failed``, ``move`` or ``release`` of the queue.
    """

    def __init__(
        self, queue: Queue, name: str, at_once: int, work: Callable[[Task], Awaitable[None]]
    ) -> None:
        self.name = name
        self._queue = queue
        self._at_once = at_once
        self._work = work
        self._room = asyncio.Semaphore(at_once)
        self._ready: deque[Task] = deque()
        self._news = asyncio.Event()

    def added(self) -> None:
        """A task was added, so that it may be due before all others."""
        self._news.set()

    async def run(self, tasks: Tasks) -> None:
        """Work on, within ``tasks``, until cancelled."""
        while True:
            await self._room.acquire()
            task = await self._next()
            tasks.start(self._one(task), f"task of {self.name}")

    async def _one(self, task: Task) -> None:
        try:
            await self._work(task)
        except Fault as fault:
            # The queue's own: it goes on from what is in its file.
            log.warning("task.not_ended", lane=self.name, reason=str(fault))
            await asyncio.sleep(AGAIN_S)
        finally:
            # It may have failed, and falls due again.
            self._news.set()
            self._room.release()

    async def _next(self) -> Task:
        while not self._ready:
            try:
                await self._fill()
            except Fault as fault:
                log.warning("tasks.not_read", lane=self.name, reason=str(fault))
                await asyncio.sleep(AGAIN_S)
        return self._ready.popleft()

    async def _fill(self) -> None:
        """Take what is due; if that is nothing, wait until something may be."""
        self._news.clear()
        self._ready.extend(await self._queue.take(self.name, self._at_once))
        if not self._ready:
            pause_s = await self._queue.pause_s(self.name)
            await happens(self._news, pause_s)
