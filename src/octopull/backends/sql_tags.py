"""Tags in a table of an SQLite file, such as one in a folder that several tag indexes share.

The file is opened for each call, so one that was replaced or comes back is seen at once. It
keeps SQLite's rollback journal, since write-ahead logs don't work over a network.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

from octopull.backends.contract import TagEntry
from octopull.config.backends import TagBackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Changed, InvalidDigest, Misuse, NotFound, UpstreamFailed
from octopull.kernel.names import TagName

T = TypeVar("T")
GRACE_S = 2.0
"""SQLite waits ``timeout_s`` for others by itself; the disk below may hang for longer."""

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS octopull_tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS octopull_tag_versions (last INTEGER NOT NULL) STRICT;
INSERT INTO octopull_tag_versions
    SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM octopull_tag_versions);
COMMIT;
"""


class SqliteTags:
    """A ``TagBackend``; made by ``opened_sqlite``. A version is a number that never comes again."""

    def __init__(self, settings: TagBackendSettings, threads: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._threads = threads
        self._path = _path(settings)
        self._made = settings.read_only

    @property
    def name(self) -> str:
        return self._settings.label

    @property
    def writable(self) -> bool:
        return not self._settings.read_only

    async def get(self, name: TagName) -> TagEntry:
        def get(db: sqlite3.Connection) -> TagEntry:
            row = _row(db, name)
            if row is None:
                raise NotFound("no such tag", tag=str(name))
            return row

        return await self._run(get)

    async def put(self, name: TagName, digest: Digest) -> None:
        await self._run(lambda db: _put(db, name, digest))

    async def put_if(self, name: TagName, digest: Digest, expected: str | None) -> str:
        def put_if(db: sqlite3.Connection) -> str:
            row = _row(db, name)
            if (None if row is None else row.version) != expected:
                raise Changed("the tag moved", tag=str(name))
            return _put(db, name, digest)

        return await self._run(put_if)

    async def delete(self, name: TagName) -> None:
        def delete(db: sqlite3.Connection) -> None:
            db.execute(
                "DELETE FROM octopull_tags WHERE repository = ? AND tag = ?",
                (name.repository, name.tag),
            )

        await self._run(delete)

    async def list(self, repository: str, after: str, count: int) -> list[str]:
        def page(db: sqlite3.Connection) -> list[str]:
            rows = db.execute(
                "SELECT tag FROM octopull_tags WHERE repository = ? AND tag > ? "
                "ORDER BY tag LIMIT ?",
                (repository, after, count),
            )
            return [str(row[0]) for row in rows]

        return await self._run(page)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """``work`` within a transaction, in a thread."""
        most_s = self._settings.timeout_s + GRACE_S
        call = asyncio.get_running_loop().run_in_executor(self._threads, self._call, work)
        try:
            async with asyncio.timeout(most_s):
                return await call
        except TimeoutError as error:
            raise UpstreamFailed(f"{self.name} does not answer", after_s=most_s) from error

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._transaction() as db:
                return work(db)
        except sqlite3.Error as error:
            raise UpstreamFailed(f"{self.name} failed: {error}") from error
        except InvalidDigest as error:
            raise UpstreamFailed(f"{self.name} holds what is no digest") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect("ro" if self._settings.read_only else "rw")) as db:
            db.execute("BEGIN" if self._settings.read_only else "BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def _connect(self, mode: str) -> sqlite3.Connection:
        if not self._made:
            # Only once: a file that vanishes later is a fault, not a store without tags.
            with closing(self._open("rwc")) as db:
                db.executescript(_SCHEMA)
            self._made = True
        return self._open(mode)

    def _open(self, mode: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode={mode}", uri=True, isolation_level=None,
            timeout=self._settings.timeout_s, check_same_thread=False,
        )  # fmt: skip
        db.execute("PRAGMA synchronous=EXTRA")
        return db


def _row(db: sqlite3.Connection, name: TagName) -> TagEntry | None:
    row = db.execute(
        "SELECT digest, version FROM octopull_tags WHERE repository = ? AND tag = ?",
        (name.repository, name.tag),
    ).fetchone()
    return None if row is None else TagEntry(Digest.parse(row[0]), str(row[1]))


def _put(db: sqlite3.Connection, name: TagName, digest: Digest) -> str:
    number = db.execute("UPDATE octopull_tag_versions SET last = last + 1 RETURNING last")
    version = int(number.fetchone()[0])
    db.execute(
        "INSERT OR REPLACE INTO octopull_tags VALUES (?, ?, ?, ?)",
        (name.repository, name.tag, str(digest), version),
    )
    return str(version)


def _path(settings: TagBackendSettings) -> Path:
    parts = urlsplit(settings.url)
    if parts.netloc or not parts.path.strip("/") or parts.query:
        raise Misuse("expected sqlite:///folder/file", url=settings.label)
    return Path(unquote(parts.path))


@asynccontextmanager
async def opened_sqlite(settings: TagBackendSettings) -> AsyncIterator[SqliteTags]:
    """The tags in the file that ``sqlite:///...`` names, which is made if it is not there.

    Raises:
        Misuse: the url names no file.

    """
    # Threads of its own: those that a dead disk holds are no one else's.
    threads = ThreadPoolExecutor(settings.requests_max, "sqlite-tags")
    try:
        yield SqliteTags(settings, threads)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
