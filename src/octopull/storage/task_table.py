"""Work to be done, as rows of an SQLite table: what each task is, and when it falls due.

A task is known by its lane (who works it off) and its key, so that adding it again makes no
second one. It ends only if it was not added again since it was taken: each adding gives the row
a new ``seq``, and whoever ends a task names the one that was taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

Row = tuple[Any, ...]

SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    key TEXT NOT NULL,
    lane TEXT NOT NULL,
    seq INTEGER NOT NULL,
    payload TEXT NOT NULL,
    due_s REAL NOT NULL,
    created_s REAL NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (key, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tasks_by_due ON tasks (lane, due_s, seq);
CREATE INDEX IF NOT EXISTS tasks_by_age ON tasks (lane, created_s);
"""

_COLUMNS = "lane, key, seq, payload, due_s, created_s, attempts, reason"
REASON_CHARS_MAX = 500


class Statements(Protocol):
    """A database that runs single statements, and may be within a transaction."""

    def read(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query."""
        ...

    def run(self, statement: str, *values: object) -> int:
        """Change rows; returns how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """What is to be done: ``key`` for ``lane``, not before ``due_s`` (seconds since the epoch)."""

    lane: str
    key: str
    payload: str = ""
    due_s: float


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the table; ``reason`` is why the last of ``attempts`` failed."""

    lane: str
    key: str
    seq: int
    payload: str
    due_s: float
    created_s: float
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class LaneCount:
    """How many tasks a lane has, and when the oldest was added (seconds since the epoch)."""

    lane: str
    pending: int
    oldest_created_s: float


class TaskTable:
    """The table in a database that has ``SCHEMA``. Calls are as durable as their transaction."""

    def __init__(self, database: Statements) -> None:
        self._db = database
        self._seq = int(database.read("SELECT coalesce(max(seq), 0) FROM tasks")[0][0])

    def add(self, task: NewTask, now_s: float) -> None:
        """Have ``task`` done. One that is there falls due at the earlier time, and is not failed."""
        self._seq += 1
        self._db.run(
            "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, 0, '') ON CONFLICT (key, lane) DO UPDATE "
            "SET seq = excluded.seq, payload = excluded.payload, attempts = 0, "
            "due_s = min(due_s, excluded.due_s)",
            task.key, task.lane, self._seq, task.payload, task.due_s, now_s,
        )  # fmt: skip

    def due(self, lane: str, now_s: float, count: int) -> list[Task]:
        """Up to ``count`` tasks that are due, those that fell due first before others."""
        rows = self._db.read(
            f"SELECT {_COLUMNS} FROM tasks WHERE lane = ? AND due_s <= ? "  # noqa: S608 - a constant
            "ORDER BY due_s, seq LIMIT ?",
            lane, now_s, count,
        )  # fmt: skip
        return [Task(*row) for row in rows]

    def done(self, task: Task) -> bool:
        """End a taken task; False, and it stays, if it was added again or is gone."""
        ended = self._db.run(
            "DELETE FROM tasks WHERE key = ? AND lane = ? AND seq = ?",
            task.key, task.lane, task.seq,
        )  # fmt: skip
        return ended > 0

    def failed(self, task: Task, reason: str, due_s: float) -> bool:
        """Have a taken task done later; False if it was added again or is gone."""
        changed = self._db.run(
            "UPDATE tasks SET attempts = attempts + 1, reason = ?, due_s = ? "
            "WHERE key = ? AND lane = ? AND seq = ?",
            reason[:REASON_CHARS_MAX], due_s, task.key, task.lane, task.seq,
        )  # fmt: skip
        return changed > 0

    def contains(self, prefix: str) -> bool:
        """Whether any lane has a task whose key begins with ``prefix``."""
        return bool(
            self._db.read(
                "SELECT 1 FROM tasks WHERE key >= ? AND key < ? LIMIT 1", prefix, _behind(prefix)
            )
        )

    def payloads(self, prefix: str) -> list[str]:
        """Those of all tasks whose keys begin with ``prefix``."""
        bounds = prefix, _behind(prefix)
        rows = self._db.read("SELECT payload FROM tasks WHERE key >= ? AND key < ?", *bounds)
        return [payload for (payload,) in rows]

    def drop(self, prefix: str) -> list[Task]:
        """End all tasks whose keys begin with ``prefix``, taken or not; returns them."""
        bounds = prefix, _behind(prefix)
        rows = self._db.read(
            f"SELECT {_COLUMNS} FROM tasks WHERE key >= ? AND key < ?",  # noqa: S608 - a constant
            *bounds,
        )
        self._db.run("DELETE FROM tasks WHERE key >= ? AND key < ?", *bounds)
        return [Task(*row) for row in rows]

    def counts(self) -> list[LaneCount]:
        """Each lane that has tasks."""
        rows = self._db.read("SELECT lane, count(*), min(created_s) FROM tasks GROUP BY lane")
        return [LaneCount(*row) for row in rows]


def oldest_s(counts: Iterable[LaneCount], now_s: float) -> float:
    """How long the oldest task has waited; 0 if there is none."""
    return max((max(0.0, now_s - one.oldest_created_s) for one in counts), default=0.0)


def _behind(prefix: str) -> str:
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
