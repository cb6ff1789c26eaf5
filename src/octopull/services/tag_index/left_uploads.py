"""Where uploads of large blobs to remotes were begun, so that another process can go on with them."""

import asyncio
import time
from contextlib import AbstractContextManager
from typing import Protocol

from octopull.kernel.digest import Digest
from octopull.storage.task_table import Statements

SCHEMA = """
CREATE TABLE IF NOT EXISTS left_uploads (
    remote TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    session TEXT NOT NULL,
    begun_s REAL NOT NULL,
    PRIMARY KEY (remote, repository, digest)
) STRICT, WITHOUT ROWID;
"""
KEPT_S = 7 * 86400.0
"""Registries forget sessions sooner."""


class Transactions(Statements, Protocol):
    """A database that runs several statements as one."""

    def transaction(self) -> AbstractContextManager[object]:
        """All that is run within counts, or nothing."""
        ...


class LeftUploads:
    """The sessions in the tag index's database."""

    def __init__(self, database: Transactions) -> None:
        self._db = database

    async def left(self, remote: str, repository: str, digest: Digest) -> str:
        """The session's address; empty if there is none."""
        rows = await asyncio.to_thread(
            self._db.read,
            "SELECT session FROM left_uploads WHERE remote = ? AND repository = ? AND digest = ?",
            remote, repository, str(digest),
        )  # fmt: skip
        return str(rows[0][0]) if rows else ""

    async def leave(self, remote: str, repository: str, digest: Digest, session: str) -> None:
        """A session is there to go on with; those that are too old are forgotten."""
        row = remote, repository, str(digest), session, time.time()
        await asyncio.to_thread(self._put, row)

    def _put(self, row: tuple[str, str, str, str, float]) -> None:
        with self._db.transaction():
            self._db.run("INSERT OR REPLACE INTO left_uploads VALUES (?, ?, ?, ?, ?)", *row)
            self._db.run("DELETE FROM left_uploads WHERE begun_s < ?", row[-1] - KEPT_S)

    async def forget(self, remote: str, repository: str, digest: Digest) -> None:
        """The session is over."""
        await asyncio.to_thread(
            self._db.run,
            "DELETE FROM left_uploads WHERE remote = ? AND repository = ? AND digest = ?",
            remote, repository, str(digest),
        )  # fmt: skip
