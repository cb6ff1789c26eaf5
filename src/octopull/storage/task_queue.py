"""A durable queue of tasks: an SQLite file beside the data that they are about.

What changes the queue is written, and synced, before its caller goes on. Changes that come while
others are being written share the next transaction, so that a thousand pushes at once wait for
a few syncs of the disk. Which tasks are *taken* is known in memory alone: a process that is
killed forgets it, and the next one takes them again.
"""

import asyncio
import math
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from octopull.kernel.errors import Unavailable
from octopull.storage import durable, sqlite
from octopull.storage.task_table import SCHEMA, LaneCount, NewTask, Row, Task, TaskTable

T = TypeVar("T")
Work = Callable[[TaskTable], T]
BATCH_MAX = 1000
"""Changes in one transaction: beyond this the first would wait for the last."""


class TaskQueue:
    """The queue in the file ``path``, for one event loop; open within its block.

    Invariants:

    * a task that was added is in the file, or was ended by ``done`` or ``drop``;
    * a taken task is not taken again before it was done, failed, or released.

    ``now_s`` is seconds since the epoch.
    """

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        self.now_s = now_s
        self._path = path
        self._taken: defaultdict[str, set[str]] = defaultdict(set)
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tasks")
        self._file: _File | None = None

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            Unavailable: it can't be had.

        """
        loop = asyncio.get_running_loop()
        try:
            self._file = await loop.run_in_executor(self._thread, _File, self._path)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._file is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)
        self._thread.shutdown()

    async def run(self, work: Work[T]) -> T:
        """Let ``work`` change the table, by itself and in order; durable when this returns.

        It runs in the queue's thread. If the caller is cancelled, it is done all the same. What
        it raises undoes its changes, and is raised here.

        Raises:
            Unavailable: the disk fails; nothing was changed.

        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, future))
        if self._writing is None:
            self._writing = loop.create_task(self._write(), name="write tasks")
        return await future

    async def _write(self) -> None:
        assert self._file is not None
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                works = [work for work, _ in batch]
                outcomes = await loop.run_in_executor(self._thread, self._file.write, works)
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    if future.done():
                        continue
                    if isinstance(outcome, _Raised):
                        future.set_exception(outcome.error)
                    else:
                        future.set_result(outcome)
        finally:
            self._writing = None

    async def add(self, task: NewTask) -> None:
        """Have ``task`` done; it is durable when this returns, and no second one if it is there."""
        now_s = self.now_s()
        await self.run(lambda table: table.add(task, now_s))

    async def take(self, lane: str, count: int) -> list[Task]:
        """Up to ``count`` tasks that are due and not taken, those that fell due first before others.

        Each must then be given to ``done``, ``failed`` or ``release``.
        """
        now_s, taken = self.now_s(), self._taken[lane]

        def take(table: TaskTable) -> list[Task]:
            # In the queue's thread: what is ended meanwhile is either gone or still taken.
            found = table.due(lane, now_s, count + len(taken))
            free = [task for task in found if task.key not in taken][:count]
            taken.update(task.key for task in free)
            return free

        return await self._read(take)

    async def done(self, task: Task) -> None:
        """End a taken task for good, unless it was added again meanwhile."""
        try:
            await self.run(lambda table: table.done(task))
        finally:
            self.release(task)

    async def failed(self, task: Task, reason: str, pause_s: float) -> None:
        """Have a taken task done in ``pause_s``, or at once if it was added again meanwhile."""
        due_s = self.now_s() + pause_s
        try:
            await self.run(lambda table: table.failed(task, reason, due_s))
        finally:
            self.release(task)

    async def move(self, task: Task, lane: str) -> None:
        """Give a taken task to another lane."""
        now_s = self.now_s()
        new = NewTask(lane=lane, key=task.key, payload=task.payload, due_s=now_s)

        def move(table: TaskTable) -> None:
            if table.done(task):
                table.add(new, task.created_s)

        try:
            await self.run(move)
        finally:
            self.release(task)

    def release(self, task: Task) -> None:
        """Let a taken task be taken again; it stays as it is."""
        self._taken[task.lane].discard(task.key)

    async def pause_s(self, lane: str) -> float | None:
        """Seconds until a task of ``lane`` that is not taken falls due; None if there is none."""
        taken = self._taken[lane]

        def due_s(table: TaskTable) -> float | None:
            found = table.due(lane, math.inf, len(taken) + 1)
            return next((task.due_s for task in found if task.key not in taken), None)

        first_s = await self._read(due_s)
        return None if first_s is None else max(0.0, first_s - self.now_s())

    async def contains(self, prefix: str) -> bool:
        """Whether there is a task whose key begins with ``prefix``."""
        return await self._read(lambda table: table.contains(prefix))

    async def payloads(self, prefixes: Sequence[str]) -> list[list[str]]:
        """Those of the tasks whose keys begin with each of ``prefixes``."""
        return await self._read(lambda table: [table.payloads(one) for one in prefixes])

    async def counts(self) -> list[LaneCount]:
        """Each lane that has tasks."""
        return await self._read(lambda table: table.counts())

    async def _read(self, work: Work[T]) -> T:
        assert self._file is not None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._file.read_only, work)


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a piece of work raised."""

    error: Exception


class _File:
    """The SQLite file, and its table; calls from one thread alone."""

    def __init__(self, path: Path) -> None:
        with durable.disk_faults("opening the queue"):
            durable.make_folder(path.parent)
        try:
            self._db = sqlite.connect(path)
            try:
                self._db.executescript(SCHEMA)
                self._table = TaskTable(self)
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the queue in {path}: {error}") from error

    def read(self, statement: str, *values: object) -> list[Row]:
        return self._db.execute(statement, values).fetchall()

    def run(self, statement: str, *values: object) -> int:
        return self._db.execute(statement, values).rowcount

    def write(self, works: list[Work[Any]]) -> list[Any]:
        """All of ``works`` in one transaction: what each returned, or raised."""
        try:
            with sqlite.transaction(self._db):
                return [self._one(work) for work in works]
        except sqlite3.Error as error:
            return [_Raised(Unavailable(f"the queue failed: {error}")) for _ in works]

    def _one(self, work: Work[Any]) -> Any:
        self._db.execute("SAVEPOINT one")
        try:
            outcome = work(self._table)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - told to who gave the work
            self._db.execute("ROLLBACK TO one")
            outcome = _Raised(error)
        self._db.execute("RELEASE one")
        return outcome

    def read_only(self, work: Work[T]) -> T:
        try:
            return work(self._table)
        except sqlite3.Error as error:
            raise Unavailable(f"the queue failed: {error}") from error

    def close(self) -> None:
        self._db.close()
