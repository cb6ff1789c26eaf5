"""What backends and remotes have yet to be told: tags and manifests that changed here.

A task is added in the transaction that changes the book, so that neither is there without the
other. It only names what changed. What is told is what the book says when its turn comes, so
that moves collapse, and none overtakes a later one.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from octopull.replication.remote import PAUSE_S_MAX
from octopull.services.tag_index.database import Database
from octopull.storage.task_table import LaneCount, NewTask, Task, TaskTable

REMOTE_PREFIX = "remote:"
NOT_REMOTE = f"lane NOT LIKE '{REMOTE_PREFIX}%'"


class TagTasks:
    """The tasks in the tag index's database, as ``TaskLane`` takes them.

    A task's key is ``<repository> <tag or digest>``, its lane the backend's name, which
    ``lane_of`` says, or ``remote:`` and the name of one of those that ``remotes_of`` says. Calls
    that are not awaited block and may come from any thread.
    """

    def __init__(
        self, database: Database, lane_of: Callable[[str], str],
        remotes_of: Callable[[str], Iterable[str]],
    ) -> None:  # fmt: skip
        self._db = database
        self._lane_of = lane_of
        self._remotes_of = remotes_of
        self._table = TaskTable(database)
        self._taken: defaultdict[str, set[str]] = defaultdict(set)

    def begin(self) -> None:
        """Go on from what the book says: until now another may have worked on its tasks.

        No remote waits for longer than a pause may last, though the other's clock was ahead.
        """
        self._table = TaskTable(self._db)
        self._taken.clear()
        latest_s = time.time() + PAUSE_S_MAX
        self._db.run(
            f"UPDATE tasks SET due_s = ? WHERE NOT ({NOT_REMOTE}) AND due_s > ?",  # noqa: S608 - a constant
            latest_s, latest_s,
        )  # fmt: skip

    def add(self, repository: str, references: Iterable[str]) -> None:
        """These changed in ``repository``; within a transaction."""
        lane, now_s = self._lane_of(repository), time.time()
        if lane:
            for reference in references:
                key = key_of(repository, reference)
                self._table.add(NewTask(lane=lane, key=key, due_s=now_s), now_s)

    def add_for_remotes(self, repository: str, references: Iterable[str]) -> None:
        """The remotes of ``repository`` are to be told of these, too; within a transaction."""
        remotes = list(self._remotes_of(repository))
        for reference in references:
            for remote in remotes:
                self.add_for_remote(remote, repository, reference)

    def add_for_remote(self, remote: str, repository: str, reference: str) -> None:
        """One of them is to be told of this; within a transaction."""
        now_s = time.time()
        new = NewTask(lane=lane_of_remote(remote), key=key_of(repository, reference), due_s=now_s)
        self._table.add(new, now_s)

    def drop_remote(self, remote: str) -> int:
        """End all tasks of a remote; returns how many."""
        return self._db.run("DELETE FROM tasks WHERE lane = ?", lane_of_remote(remote))

    def pending(self, repository: str, reference: str) -> bool:
        """Whether a backend has yet to be told."""
        statement = f"SELECT 1 FROM tasks WHERE key = ? AND {NOT_REMOTE} LIMIT 1"  # noqa: S608 - a constant
        return bool(self._db.read(statement, key_of(repository, reference)))

    def of(self, repository: str) -> set[str]:
        """The tags and digests that a backend has yet to be told of, in a repository."""
        rows = self._db.read(
            f"SELECT key FROM tasks WHERE key > ? AND key < ? AND {NOT_REMOTE}",  # noqa: S608 - a constant
            f"{repository} ", f"{repository}!",
        )  # fmt: skip
        return {row[0].partition(" ")[2] for row in rows}

    def end(self, task: Task) -> bool:
        """End a task for good; False, and it stays, if it was added again since it was taken."""
        return self._table.done(task)

    def due(self, lane: str, count: int) -> list[Task]:
        """Up to ``count`` tasks that are due, taken or not."""
        return self._table.due(lane, time.time(), count)

    def end_or_renew(self, task: Task, begun_s: float) -> None:
        """End a task that was begun then; one that was added again meanwhile is no older than that."""
        with self._db.transaction():
            if not self._table.done(task):
                self._db.run(
                    "UPDATE tasks SET created_s = ? WHERE key = ? AND lane = ? AND created_s < ?",
                    begun_s, task.key, task.lane, begun_s,
                )  # fmt: skip

    async def take(self, lane: str, count: int) -> list[Task]:
        """Up to ``count`` tasks that are due and not taken, those that fell due first before others.

        Each must be given to ``release`` once it was ended, moved, or failed.
        """
        # What is released while the rows are read counts as taken still.
        taken = set(self._taken[lane])
        found = await asyncio.to_thread(self.due, lane, count + len(taken))
        free = [task for task in found if task.key not in taken][:count]
        self._taken[lane].update(task.key for task in free)
        return free

    async def pause_s(self, lane: str) -> float | None:
        """Seconds until a task of ``lane`` that is not taken falls due; None if there is none."""
        taken = set(self._taken[lane])
        found = await asyncio.to_thread(self._table.due, lane, math.inf, len(taken) + 1)
        first_s = next((task.due_s for task in found if task.key not in taken), None)
        return None if first_s is None else max(0.0, first_s - time.time())

    def release(self, task: Task) -> None:
        """Let a taken task be taken again, if it is still there."""
        self._taken[task.lane].discard(task.key)

    def release_all(self, lane: str) -> None:
        """Nobody works on the tasks of ``lane`` any longer."""
        self._taken.pop(lane, None)

    async def failed(self, task: Task, reason: str, pause_s: float) -> None:
        """Have it tried again in ``pause_s``."""
        await asyncio.to_thread(self._table.failed, task, reason, time.time() + pause_s)

    async def move(self, task: Task, lane: str) -> None:
        """Let another backend be told, or none (an empty ``lane``)."""

        def move() -> None:
            with self._db.transaction():
                if self._table.done(task) and lane:
                    new = NewTask(lane=lane, key=task.key, due_s=time.time())
                    self._table.add(new, task.created_s)

        await asyncio.to_thread(move)

    async def counts(self) -> list[LaneCount]:
        """Each backend's lane that has tasks."""
        found = await asyncio.to_thread(self._table.counts)
        return [count for count in found if not count.lane.startswith(REMOTE_PREFIX)]

    async def remote_counts(self) -> dict[str, LaneCount]:
        """Of each remote that has tasks, by its name."""
        found = await asyncio.to_thread(self._table.counts)
        lanes = [count for count in found if count.lane.startswith(REMOTE_PREFIX)]
        return {count.lane.removeprefix(REMOTE_PREFIX): count for count in lanes}


def key_of(repository: str, reference: str) -> str:
    """A task's key."""
    return f"{repository} {reference}"


def lane_of_remote(remote: str) -> str:
    """The lane of a remote's tasks; backends' names have no such prefix."""
    return f"{REMOTE_PREFIX}{remote}"
