"""The tag index's SQLite file: its tables, and transactions that are durable when they return."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from octopull.kernel.errors import Unavailable

Row = tuple[Any, ...]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS book (epoch TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL,
    folded TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    moved_at REAL NOT NULL,
    PRIMARY KEY (repository, folded, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_of_manifests ON tags (repository, digest);
CREATE TABLE IF NOT EXISTS manifests (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    subject TEXT,
    artifact_type TEXT,
    annotations TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifests_by_digest ON manifests (digest);
CREATE INDEX IF NOT EXISTS referrers ON manifests (repository, subject, digest)
    WHERE subject IS NOT NULL;
CREATE TABLE IF NOT EXISTS edges (
    child TEXT NOT NULL,
    manifest TEXT NOT NULL,
    PRIMARY KEY (child, manifest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edges_by_manifest ON edges (manifest);
CREATE TABLE IF NOT EXISTS deletions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    changed_at REAL NOT NULL,
    UNIQUE (repository, digest)
) STRICT;
"""


class Database:
    """One connection, used by one thread at a time. Calls block and may come from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the tags in {path}: {error}") from error
        self.epoch = self._epoch()

    def _epoch(self) -> str:
        """Names this file's history, so that a follower of another one begins anew."""
        with self.transaction():
            if not self.read("SELECT epoch FROM book"):
                self.run("INSERT INTO book VALUES (?)", os.urandom(8).hex())
            return str(self.read("SELECT epoch FROM book")[0][0])

    def read(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query."""
        with self._guarded():
            return self._db.execute(statement, values).fetchall()

    def run(self, statement: str, *values: object) -> int:
        """Change rows, by itself or within a ``transaction``; returns how many."""
        with self._guarded():
            return self._db.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: Sequence[Row]) -> None:
        """Change rows, once for each of ``rows``; within a ``transaction``."""
        with self._guarded():
            self._db.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is run within counts, durably, or nothing."""
        with self._guarded():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # SQLite has done so by itself if the disk is full, say.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise Unavailable(f"the tag store failed: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
