"""Tags on disk: one SQLite table, each put durable before it returns."""

import sqlite3
import threading
import time
from pathlib import Path

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.kernel.names import TagName

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    moved_at REAL NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID
"""


class TagStore:
    """Repository and tag to digest. Calls block and may come from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the tags in {path}: {error}") from error

    def put(self, name: TagName, digest: Digest) -> None:
        """Let ``name`` stand for ``digest``; a tag that exists moves."""
        self._run(
            "INSERT INTO tags (repository, tag, digest, moved_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET digest = excluded.digest, moved_at = excluded.moved_at",
            (name.repository, name.tag, str(digest), time.time()),
        )

    def get(self, name: TagName) -> Digest:
        """What ``name`` stands for.

        Raises:
            NotFound: no such tag.

        """
        rows = self._run(
            "SELECT digest FROM tags WHERE repository = ? AND tag = ?",
            (name.repository, name.tag),
        )
        if not rows:
            raise NotFound("no such tag", tag=str(name))
        return Digest.parse(rows[0][0])

    def tags(self, repository: str, count: int, last: str) -> list[str]:
        """Up to ``count`` tags after ``last``, in byte order.

        Raises:
            NotFound: the repository has no tag at all.

        """
        rows = self._run(
            "SELECT tag FROM tags WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?",
            (repository, last, count),
        )
        if not rows and not self._run(
            "SELECT 1 FROM tags WHERE repository = ? LIMIT 1", (repository,)
        ):
            raise NotFound("no such repository", repository=repository)
        return [row[0] for row in rows]

    def names(self, prefix: str, count: int, last: str) -> list[str]:
        """Up to ``count`` names ``repository:tag`` that begin with ``prefix``, after ``last``."""
        rows = self._run(
            "SELECT repository || ':' || tag AS name FROM tags "
            "WHERE substr(repository || ':' || tag, 1, ?) = ? AND name > ? ORDER BY name LIMIT ?",
            (len(prefix), prefix, last, count),
        )
        return [row[0] for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _run(self, statement: str, values: tuple[object, ...]) -> list[tuple[str, ...]]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise Unavailable(f"the tag store failed: {error}") from error
