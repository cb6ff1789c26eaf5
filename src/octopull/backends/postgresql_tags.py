"""Tags in a table of a PostgreSQL database, by asyncpg.

A connection that broke is replaced; calls that are safe to repeat are, for as long as
``timeout_s`` lasts.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from octopull.backends.contract import TagEntry
from octopull.config.backends import TagBackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Changed, InvalidDigest, Misuse, NotFound, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.observability import logs

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record

    Rows = list[Record]

T = TypeVar("T")
log = logs.get("postgresql")
PAUSE_S = 0.1
CREDENTIALS_BYTES_MAX = 64 * 1024
_SECRETS = frozenset({"user", "password", "sslpassword"})
_SCHEMA = """
SELECT pg_advisory_xact_lock(7022817366152183885);
CREATE SEQUENCE IF NOT EXISTS octopull_tag_versions;
CREATE TABLE IF NOT EXISTS octopull_tags (
    repository text COLLATE "C" NOT NULL,
    tag text COLLATE "C" NOT NULL,
    digest text NOT NULL,
    version bigint NOT NULL DEFAULT nextval('octopull_tag_versions'),
    PRIMARY KEY (repository, tag)
);
"""
_PUT = (
    "INSERT INTO octopull_tags (repository, tag, digest) VALUES ($1, $2, $3) "
    "ON CONFLICT (repository, tag) DO "
)


class PostgresqlTags:
    """A ``TagBackend``; made by ``opened_postgresql``. A version is a number never used again."""

    def __init__(self, settings: TagBackendSettings, pool: "Pool[Record]") -> None:
        self._settings = settings
        self._pool = pool
        self._made = settings.read_only
        self._making = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._settings.label

    @property
    def writable(self) -> bool:
        return not self._settings.read_only

    async def get(self, name: TagName) -> TagEntry:
        rows = await self._rows(
            "SELECT digest, version FROM octopull_tags WHERE repository = $1 AND tag = $2",
            name.repository, name.tag,
        )  # fmt: skip
        if not rows:
            raise NotFound("no such tag", tag=str(name))
        try:
            return TagEntry(Digest.parse(rows[0][0]), str(rows[0][1]))
        except InvalidDigest as error:
            raise UpstreamFailed(f"{self.name} holds what is no digest") from error

    async def put(self, name: TagName, digest: Digest) -> None:
        update = "UPDATE SET digest = excluded.digest, version = excluded.version"
        await self._rows(f"{_PUT}{update}", name.repository, name.tag, str(digest))

    async def put_if(self, name: TagName, digest: Digest, expected: str | None) -> str:
        values = name.repository, name.tag, str(digest)
        if expected is None:
            # Not repeated if the answer is lost: it may have been done.
            rows = await self._rows(f"{_PUT}NOTHING RETURNING version", *values, attempts=1)
        else:
            rows = await self._rows(
                "UPDATE octopull_tags SET digest = $3, version = nextval('octopull_tag_versions') "
                "WHERE repository = $1 AND tag = $2 AND version::text = $4 RETURNING version",
                *values, expected, attempts=1,
            )  # fmt: skip
        if not rows:
            raise Changed("the tag moved", tag=str(name))
        return str(rows[0][0])

    async def delete(self, name: TagName) -> None:
        await self._rows(
            "DELETE FROM octopull_tags WHERE repository = $1 AND tag = $2",
            name.repository, name.tag,
        )  # fmt: skip

    async def list(self, repository: str, after: str, count: int) -> list[str]:
        rows = await self._rows(
            "SELECT tag FROM octopull_tags WHERE repository = $1 AND tag > $2 "
            "ORDER BY tag LIMIT $3",
            repository, after, count,
        )  # fmt: skip
        return [str(row[0]) for row in rows]

    async def _rows(self, statement: str, *values: object, attempts: int | None = None) -> "Rows":
        async def ask() -> "Rows":
            await self._make()
            return await self._pool.fetch(statement, *values)

        return await self._tried(ask, self._settings.attempts_max if attempts is None else attempts)

    async def _make(self) -> None:
        """Create the table unless it is there; who may not create it may still use it."""
        if self._made:
            return
        async with self._making:
            if not self._made:
                there = await self._pool.fetchval("SELECT to_regclass('octopull_tags') IS NOT NULL")
                if not there:
                    await self._pool.execute(_SCHEMA)
                self._made = True

    async def _tried(self, work: Callable[[], Awaitable[T]], attempts: int) -> T:
        import asyncpg

        try:
            async with asyncio.timeout(self._settings.timeout_s):
                for attempt in range(1, attempts):
                    try:
                        return await work()
                    except _broken() as error:
                        log.info("postgresql.broke", backend=self.name, reason=type(error).__name__)
                    await asyncio.sleep(PAUSE_S * 2**attempt)
                return await work()
        except TimeoutError as error:
            raise UpstreamFailed(f"{self.name} does not answer") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise UpstreamFailed(f"{self.name} failed: {_reason(error)}") from error


def _broken() -> tuple[type[Exception], ...]:
    """Connections that broke or were refused, by a server that may be starting again."""
    import asyncpg

    return (
        ConnectionError,
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
    )


def _reason(error: Exception) -> str:
    """What may be told: the server's words name no password, but perhaps our user."""
    code = getattr(error, "sqlstate", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} ({code})"


def _credentials(settings: TagBackendSettings) -> dict[str, str]:
    """User and password from the file, read at each connection; else the environment counts.

    Raises:
        UpstreamFailed: the file can't be read.

    """
    if not settings.credentials:
        return {}
    try:
        with Path(settings.credentials).open("rb") as file:
            text = file.read(CREDENTIALS_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UpstreamFailed(f"the credentials of {settings.label} can't be read") from error
    user, colon, password = text.partition("\n")[0].strip().partition(":")
    if not colon or not user:
        raise UpstreamFailed(f"the credentials of {settings.label} are not user:password")
    return {"user": user, "password": password}


def _dsn(settings: TagBackendSettings) -> str:
    """The url with ``options`` as its parameters (libpq's, such as ``sslmode``)."""
    parts = urlsplit(settings.url)
    options: Mapping[str, str] = {**dict(parse_qsl(parts.query)), **settings.options}
    if _SECRETS & set(options):
        raise Misuse("credentials belong into a file or variables", url=settings.name)
    return parts._replace(query=urlencode(options)).geturl()


@asynccontextmanager
async def opened_postgresql(settings: TagBackendSettings) -> AsyncIterator[PostgresqlTags]:
    """The tags in the database of ``postgresql://host/database``; it need not be up yet.

    Raises:
        Misuse: asyncpg is not installed, or the url holds a secret.

    """
    try:
        import asyncpg
    except ImportError as error:
        raise Misuse("PostgreSQL needs asyncpg: pip install 'octopull[postgresql]'") from error

    async def connect(*words: Any, **more: Any) -> "Connection[Record]":
        ask: Callable[..., Awaitable[Connection[Record]]] = asyncpg.connect
        return await ask(*words, **more, **_credentials(settings))

    pool = asyncpg.create_pool(
        _dsn(settings), min_size=0, max_size=settings.requests_max, connect=connect,
        timeout=settings.timeout_s, command_timeout=settings.timeout_s,
    )  # fmt: skip
    async with pool:
        try:
            yield PostgresqlTags(settings, pool)
        finally:
            # A server that went silent must not keep us from ending.
            pool.terminate()
