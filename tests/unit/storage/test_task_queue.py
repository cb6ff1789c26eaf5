"""The queue of tasks: what it costs, and what it says when the disk fails."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopull.kernel.errors import Unavailable
from octopull.runtime.tasks import Tasks
from octopull.storage.task_lane import TaskLane
from octopull.storage.task_queue import TaskQueue
from octopull.storage.task_table import NewTask, Task, TaskTable

MANY = 100_000
NOW_S = 5000.0


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    async with TaskQueue(tmp_path / "queue.sqlite", lambda: NOW_S) as one:
        yield one


def new(number: int, lane: str = "a", due_s: float = 0.0) -> NewTask:
    return NewTask(lane=lane, key=f"{number:06d} ns", payload="ns", due_s=due_s)


async def add_all(queue: TaskQueue, tasks: list[NewTask]) -> None:
    await asyncio.gather(*map(queue.add, tasks))


async def test_adds_that_come_together_share_transactions(queue: TaskQueue, tmp_path: Path) -> None:
    log = tmp_path / "queue.sqlite-wal"
    before_bytes = log.stat().st_size
    await queue.add(new(0))
    one_bytes = log.stat().st_size - before_bytes
    await add_all(queue, [new(number) for number in range(1, 500)])
    all_bytes = log.stat().st_size - before_bytes - one_bytes
    # Each transaction writes whole pages of the file, whose number is what this bounds.
    assert all_bytes < 50 * one_bytes


async def test_a_hundred_thousand_tasks_are_added_counted_and_taken_at_little_cost(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.sqlite"
    async with TaskQueue(path, lambda: NOW_S) as queue:

        def fill(table: TaskTable) -> None:
            for number in range(MANY):
                table.add(new(number, due_s=number % 1000), NOW_S)

        await queue.run(fill)
    took_s = time.monotonic()
    async with TaskQueue(path, lambda: NOW_S) as queue:
        assert [one.pending for one in await queue.counts()] == [MANY]
        await add_all(queue, [new(MANY + number) for number in range(100)])
        for _ in range(10):
            for task in await queue.take("a", 50):
                await queue.done(task)
        assert await queue.contains("000777 ")
        assert not await queue.contains("x")
    took_s = time.monotonic() - took_s
    # Measured: 0.3 s, most of it for 500 transactions. Each look at all rows would cost 20 s.
    assert took_s < 6


async def test_a_cancelled_add_still_counts(queue: TaskQueue) -> None:
    adding = asyncio.create_task(queue.add(new(1)))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await queue.add(new(2))
    assert [one.pending for one in await queue.counts()] == [2]


async def test_a_file_that_is_no_queue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(Unavailable, match="cannot open the queue"):
        async with TaskQueue(path):
            pass


async def test_what_can_not_be_written_is_said_to_all_who_wait(
    queue: TaskQueue, tmp_path: Path
) -> None:
    def break_off(table: TaskTable) -> None:
        table.add(new(0), 0.0)
        table._db.run("SELECT nonsense")

    failed = await asyncio.gather(
        queue.run(break_off), queue.add(new(1)), return_exceptions=True
    )  # fmt: skip
    assert [type(one) for one in failed] == [Unavailable, Unavailable]
    await queue.add(new(2))
    assert [task.key for task in await queue.take("a", 9)] == ["000002 ns"]


async def test_a_lane_works_on_so_many_at_once_and_the_oldest_first(queue: TaskQueue) -> None:
    begun: list[str] = []
    go = asyncio.Semaphore(0)
    started = asyncio.Semaphore(0)

    async def work(task: Task) -> None:
        begun.append(task.key)
        started.release()
        await go.acquire()
        await queue.done(task)

    await add_all(queue, [new(number, due_s=10.0 - number) for number in range(6)])
    async with Tasks() as tasks:
        lane = TaskLane(queue, "a", 2, work)
        tasks.start(lane.run(tasks), "lane")
        await started.acquire()
        await started.acquire()
        assert begun == ["000005 ns", "000004 ns"]
        go.release()
        await started.acquire()
        assert begun[2:] == ["000003 ns"]
        for _ in range(5):
            go.release()
        for _ in range(3):
            await started.acquire()
    assert begun == [f"{number:06d} ns" for number in (5, 4, 3, 2, 1, 0)]


async def test_a_lane_wakes_for_what_is_added_and_survives_work_that_breaks(
    queue: TaskQueue,
) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def work(task: Task) -> None:
        await seen.put(task.key)
        if task.key == new(1).key:
            queue.release(task)
            msg = "the disk is full"
            raise Unavailable(msg)
        await queue.done(task)

    async with Tasks() as tasks:
        lane = TaskLane(queue, "a", 1, work)
        tasks.start(lane.run(tasks), "lane")
        for number in (0, 1):
            await queue.add(new(number))
            lane.added()
            assert await seen.get() == new(number).key
        # It waits a moment, and takes it again.
        assert await seen.get() == new(1).key
