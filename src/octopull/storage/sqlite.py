"""SQLite files whose transactions are durable when they return."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def connect(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open a file, or make it; ``any_thread`` if its owner sees to it that one at a time calls.

    Raises:
        sqlite3.Error: it can't be opened, or is none.

    """
    db = sqlite3.connect(path, check_same_thread=not any_thread, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection, *, kept: bool = True) -> Iterator[None]:
    """All that is run within counts, or nothing; nothing either way unless ``kept``.

    Raises:
        sqlite3.Error: the disk does not keep it.

    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT" if kept else "ROLLBACK")
    except BaseException:
        # SQLite has done so by itself if the disk is full, say.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
