"""Background tasks with an owner that ends them."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from octopull.observability import logs

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
