"""The queue of tasks against a model: adds, takes, ends, and restarts after a kill.

The file is the real one, time is virtual. A kill leaves the file and its log as they are.
"""

import asyncio
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octopull.storage.task_queue import TaskQueue
from octopull.storage.task_table import NewTask, Task, TaskTable
from support.memory import folder_in_memory

T = TypeVar("T")
LANES = ["small", "large"]
KEYS = ["a 1", "a 2", "b 1", "b 11", "c 1"]
Name = tuple[str, str]


@dataclass
class Owed:
    """A task as it should be."""

    order: int
    payload: str
    due_s: float
    created_s: float
    attempts: int = 0
    reason: str = ""


class QueueModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = folder_in_memory()
        self.runner = asyncio.Runner()
        self.now_s = 1000.0
        self.number = 0
        self.owed: dict[Name, Owed] = {}
        self.taken: dict[Name, Task] = {}
        self.orders: dict[Name, int] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.open(Path(self.folder.name) / "0")

    def open(self, folder: Path) -> None:
        self.at = folder
        self.queue = TaskQueue(folder / "queue.sqlite", lambda: self.now_s)
        self.run(self.queue.__aenter__())
        self.taken.clear()

    def close(self) -> None:
        self.run(self.queue.__aexit__(None, None, None))

    @rule(adds=st.lists(st.tuples(st.sampled_from(LANES), st.sampled_from(KEYS),
                                  st.sampled_from([0.0, 0.0, 5.0])), min_size=1, max_size=4))  # fmt: skip
    def add(self, adds: list[tuple[str, str, float]]) -> None:
        """Some at once, which share a transaction."""
        new = []
        for lane, key, later_s in adds:
            self.number += 1
            due_s, payload = self.now_s + later_s, str(self.number)
            owed = self.owed.get((lane, key))
            new.append(NewTask(lane=lane, key=key, payload=payload, due_s=due_s))
            self.owed[lane, key] = Owed(
                self.number, payload, due_s if owed is None else min(due_s, owed.due_s),
                self.now_s if owed is None else owed.created_s,
                reason="" if owed is None else owed.reason,
            )  # fmt: skip

        async def add() -> None:
            await asyncio.gather(*map(self.queue.add, new))

        self.run(add())

    def due(self, lane: str) -> list[Name]:
        free = [
            (owed.due_s, owed.order, name)
            for name, owed in self.owed.items()
            if name[0] == lane and name not in self.taken
        ]
        return [name for due_s, _, name in sorted(free) if due_s <= self.now_s]

    @rule(lane=st.sampled_from(LANES), count=st.integers(1, 4))
    def take(self, lane: str, count: int) -> None:
        found = self.run(self.queue.take(lane, count))
        assert [(task.lane, task.key) for task in found] == self.due(lane)[:count]
        for task in found:
            owed = self.owed[task.lane, task.key]
            assert (task.payload, task.due_s, task.created_s, task.attempts, task.reason) == (
                owed.payload, owed.due_s, owed.created_s, owed.attempts, owed.reason
            )  # fmt: skip
            self.taken[task.lane, task.key] = task
            self.orders[task.lane, task.key] = owed.order

    @precondition(lambda self: self.taken)
    @rule(
        number=st.integers(0, 9), how=st.sampled_from(["done", "done", "failed", "release", "move"])
    )
    def end(self, number: int, how: str) -> None:
        name = list(self.taken)[number % len(self.taken)]
        task = self.taken.pop(name)
        owed = self.owed.get(name)
        same = owed is not None and owed.order == self.orders[name]
        if how == "done":
            self.run(self.queue.done(task))
            if same:
                del self.owed[name]
        elif how == "failed":
            self.run(self.queue.failed(task, "it is down", 3.0))
            if owed is not None and same:
                owed.attempts += 1
                owed.due_s, owed.reason = self.now_s + 3.0, "it is down"
        elif how == "release":
            self.queue.release(task)
        else:
            self.run(self.queue.move(task, LANES[0]))
            if same:
                self.move(name)

    def move(self, name: Name) -> None:
        owed = self.owed.pop(name)
        there = self.owed.get((LANES[0], name[1]))
        self.number += 1
        self.owed[LANES[0], name[1]] = Owed(
            self.number, owed.payload,
            self.now_s if there is None else min(self.now_s, there.due_s),
            owed.created_s if there is None else there.created_s,
            reason="" if there is None else there.reason,
        )  # fmt: skip

    @rule(prefix=st.sampled_from(["a ", "b 1", "c 1", "d"]))
    def drop(self, prefix: str) -> None:
        dropped = self.run(self.queue.run(lambda table: table.drop(prefix)))
        names = {name for name in self.owed if name[1].startswith(prefix)}
        assert {(task.lane, task.key) for task in dropped} == names
        for name in names:
            del self.owed[name]

    @rule()
    def fail_together(self) -> None:
        """What raises is undone, and nothing else with it."""
        self.number += 1
        owed = NewTask(lane="small", key="never", due_s=0.0)
        task = NewTask(lane="large", key="c 1", payload=str(self.number), due_s=self.now_s)
        before = self.owed.get(("large", "c 1"))
        self.owed["large", "c 1"] = Owed(
            self.number, task.payload,
            self.now_s if before is None else min(self.now_s, before.due_s),
            self.now_s if before is None else before.created_s,
            reason="" if before is None else before.reason,
        )  # fmt: skip

        def broken(table: TaskTable) -> None:
            table.add(owed, 0.0)
            raise ValueError

        async def both() -> list[BaseException | None]:
            works = [self.queue.run(broken), self.queue.add(task)]
            return await asyncio.gather(*works, return_exceptions=True)

        failed, added = self.run(both())
        assert isinstance(failed, ValueError)
        assert added is None

    @rule(seconds=st.sampled_from([0.5, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        folder = self.at.with_name(str(int(self.at.name) + 1))
        if clean:
            self.close()
        shutil.copytree(self.at, folder, ignore=shutil.ignore_patterns("*-shm"))
        if not clean:
            self.close()
        shutil.rmtree(self.at)
        self.open(folder)

    @invariant()
    def it_knows_what_is_owed(self) -> None:
        if not hasattr(self, "queue"):
            return
        for lane in LANES:
            mine = {name[1]: owed for name, owed in self.owed.items() if name[0] == lane}
            found = {one.lane: one for one in self.run(self.queue.counts())}
            assert (found[lane].pending if lane in found else 0) == len(mine)
            if mine:
                oldest_s = min(owed.created_s for owed in mine.values())
                assert found[lane].oldest_created_s == oldest_s
            free = [owed.due_s for key, owed in mine.items() if (lane, key) not in self.taken]
            pause_s = max(0.0, min(free) - self.now_s) if free else None
            assert self.run(self.queue.pause_s(lane)) == pause_s
        for prefix in ["a ", "b 1", "b 11", "c", "d"]:
            there = any(key.startswith(prefix) for _, key in self.owed)
            assert self.run(self.queue.contains(prefix)) == there

    def teardown(self) -> None:
        try:
            if hasattr(self, "queue"):
                self.close()
        finally:
            self.runner.close()
            self.folder.cleanup()


QueueModel.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestTaskQueue = QueueModel.TestCase
