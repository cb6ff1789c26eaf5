"""Background tasks with an owner that ends them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from octopull.kernel.errors import Fault
from octopull.observability import logs

T = TypeVar("T")
log = logs.get("runtime")


class Tasks:
    """Tasks that live no longer than the block they were started in.

    Unlike ``asyncio.TaskGroup``, one task's failure is journalled and leaves the others
    running: a server's tasks serve unrelated callers.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run ``work``; it is cancelled when the block ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", task=task.get_name(), exc_info=error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for task in self._running:
            task.cancel()
        while self._running:
            await asyncio.wait(self._running)


async def happens(event: asyncio.Event, within_s: float | None) -> None:
    """Returns when ``event`` is set, or after ``within_s`` seconds (None: never)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """``work`` for each of ``items`` in order, ``at_once`` at a time; the first fault ends all.

    Raises:
        Fault: as ``work``.

    """
    waiting = iter(items)

    async def some() -> None:
        for item in waiting:
            await work(item)

    failures: list[Fault] = []
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(some())
    except* Fault as faults:
        failures = [one for one in faults.exceptions if isinstance(one, Fault)]
    if failures:
        raise failures[0]
