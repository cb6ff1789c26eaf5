"""The tag index's SQLite file: its tables, and transactions that are durable when they return.

Where several tag indexes share one book, a transaction is only rehearsed here: what it ran is
undone, and counts once the others have it, too, and all run it in the same order (as in rqlite,
whose log also holds statements). Values are bound before, so that it does the same everywhere.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from octopull.kernel.errors import Unavailable
from octopull.services.tag_index import holdings, left_uploads, statements, tag_moves, usage
from octopull.services.tag_index.statements import Change, Statement
from octopull.storage import sqlite, task_table

Row = tuple[Any, ...]
OPERATIONS_KEPT_S = 3600.0
"""No client repeats itself for longer."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS book (epoch TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL,
    folded TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    moved_at REAL NOT NULL,
    store TEXT NOT NULL DEFAULT '',
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
CREATE TABLE IF NOT EXISTS operations (
    name TEXT PRIMARY KEY,
    done_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS operations_by_age ON operations (done_at);
CREATE TABLE IF NOT EXISTS applied (at INTEGER NOT NULL, term INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """The last change of the shared log that the book has, and its term."""

    index: int
    term: int


Replicate = Callable[[Change, int], None]
"""Returns once ``apply`` was called with the change, which was rehearsed on what was applied then.

Raises:
    Unavailable: nobody knows whether it counts.
"""


class Snapshot:
    """A book as it was at one moment; use it in a ``with`` block, from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("BEGIN")
            self.read("SELECT at FROM applied")
        except BaseException:
            self._db.close()
            raise

    def read(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query."""
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(f"the tag store failed: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()


class Database:
    """One connection, used by one thread at a time. Calls block and may come from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._turn = threading.RLock()
        """Held from a change's rehearsal until it is applied."""
        self._lock = threading.RLock()
        self._replicate: Replicate | None = None
        self._change: list[Statement] | None = None
        try:
            self._db = sqlite.connect(path, any_thread=True)
            self._add_tables()
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the tags in {path}: {error}") from error
        self._name()
        self.epoch = self._epoch()
        """Names this book's history, so that a follower of another one begins anew."""

    def _add_tables(self) -> None:
        """Give a file what it lacks, which an older version wrote or one that knew no backends."""
        own = tag_moves.SCHEMA, left_uploads.SCHEMA, holdings.SCHEMA, usage.SCHEMA
        schemas = _SCHEMA, task_table.SCHEMA, *own
        self._db.executescript("".join(schemas))
        columns = [row[1] for row in self._db.execute("PRAGMA table_info(tags)")]
        if "store" not in columns:
            self._db.execute("ALTER TABLE tags ADD COLUMN store TEXT NOT NULL DEFAULT ''")

    def _name(self) -> None:
        with self.transaction():
            if not self.read("SELECT epoch FROM book"):
                self.run("INSERT INTO book VALUES (?)", os.urandom(8).hex())
            if not self.read("SELECT at FROM applied"):
                self.run("INSERT INTO applied VALUES (0, 0)")

    def _epoch(self) -> str:
        return str(self.read("SELECT epoch FROM book")[0][0])

    def set_epoch(self) -> None:
        """Have all that share the book know its history by the same name."""
        self.run("UPDATE book SET epoch = ?", self.epoch)

    def read(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query."""
        with self._guarded():
            return self._db.execute(statement, values).fetchall()

    def run(self, statement: str, *values: object) -> int:
        """Change rows, by itself or within a ``transaction``; returns how many."""
        with self._changing() as change:
            change.append((statement, [values]))
            return self._db.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: Sequence[Row]) -> None:
        """Change rows, once for each of ``rows``; within a ``transaction``."""
        with self._changing() as change:
            change.append((statement, list(rows)))
            self._db.executemany(statement, rows)

    @contextmanager
    def _changing(self) -> Iterator[list[Statement]]:
        with self._turn:
            if self._change is not None:
                with self._guarded():
                    yield self._change
                return
            with self.transaction() as change:
                yield change

    @contextmanager
    def transaction(self) -> Iterator[list[Statement]]:
        """All that is run within counts, durably, or nothing.

        Raises:
            Unavailable: the disk does not keep it, or too few of the other tag indexes answer.

        """
        with self._turn:
            with self._guarded(), sqlite.transaction(self._db, kept=self._replicate is None):
                rehearsed_on = 0 if self._replicate is None else self.applied().index
                change = self._change = []
                try:
                    yield change
                finally:
                    self._change = None
            if self._replicate is not None and change:
                self._replicate(change, rehearsed_on)

    def repeated(self, operation: str) -> bool:
        """Whether the operation of that name was done before; from now on it was.

        Within a transaction: whoever got no answer may ask again, and it happens once.
        """
        if not operation:
            return False
        if self.read("SELECT 1 FROM operations WHERE name = ?", operation):
            return True
        now_s = time.time()
        self.run("DELETE FROM operations WHERE done_at < ?", now_s - OPERATIONS_KEPT_S)
        self.run("INSERT INTO operations VALUES (?, ?)", operation, now_s)
        return False

    def snapshot(self) -> Snapshot:
        """The book as it is now, for questions that take long: changes go on meanwhile."""
        try:
            return Snapshot(self.path)
        except sqlite3.Error as error:
            raise Unavailable(f"the tag store failed: {error}") from error

    @property
    def changes(self) -> int:
        """Grows whenever rows change."""
        return self._db.total_changes

    # One book for several tag indexes.

    def share(self, replicate: Replicate) -> None:
        """From now on changes count once they were given to ``replicate``."""
        self._replicate = replicate

    @property
    def empty(self) -> bool:
        """Whether nothing was ever kept here."""
        tables = "tags", "manifests", "deletions", "tasks"
        return not any(self.read(f"SELECT 1 FROM {one} LIMIT 1") for one in tables)  # noqa: S608 - our own words

    def applied(self) -> Applied:
        """Which of the shared log's changes the book has."""
        return Applied(*self.read("SELECT at, term FROM applied")[0])

    def apply(self, changes: Sequence[Change], until: Applied) -> None:
        """Run ``changes``, the last of which is ``until``, unless that was done before."""
        with self._guarded(), statements.nothing_else(self._db):
            known = self.applied().index - (until.index - len(changes))
            if known < 0:
                raise Unavailable("the book lacks changes that came before", missing=-known)
            if known >= len(changes):
                return
            with sqlite.transaction(self._db):
                for change in changes[known:]:
                    for statement, rows in change:
                        self._db.executemany(statement, rows)
                self._db.execute("UPDATE applied SET at = ?, term = ?", (until.index, until.term))
            self.epoch = self._epoch()

    def copy(self, path: Path) -> Applied:
        """Write the book to a new file; returns up to where it goes. Others go on meanwhile."""
        try:
            with closing(sqlite3.connect(self.path)) as reader:
                reader.execute("VACUUM INTO ?", (str(path),))
            with closing(sqlite3.connect(path)) as copied:
                return Applied(*copied.execute("SELECT at, term FROM applied").fetchone())
        except sqlite3.Error as error:
            raise Unavailable(f"the book can't be copied: {error}") from error

    def found(self) -> None:
        """Be the first entry of a shared log."""
        self._set_applied(1, 0)

    def leave(self) -> None:
        """Belong to no shared log any more."""
        self._set_applied(0, 0)

    def _set_applied(self, index: int, term: int) -> None:
        with self._guarded():
            self._db.execute("UPDATE applied SET at = ?, term = ?", (index, term))

    def replace(self, path: Path, until: Applied) -> Applied:
        """Be what a file holds that ``copy`` wrote, which goes up to ``until``.

        Raises:
            Unavailable: it is none, or damaged.

        """
        with self._guarded():
            source = sqlite3.connect(path)
            try:
                if source.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
                    raise Unavailable("a tag index sent a damaged book")
                found = source.execute("SELECT at, term FROM applied").fetchone()
                if Applied(*found) != until:
                    raise Unavailable("a tag index sent another book than it said")
                source.backup(self._db)
            finally:
                source.close()
            self._add_tables()
            self.epoch = self._epoch()
            return self.applied()

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
