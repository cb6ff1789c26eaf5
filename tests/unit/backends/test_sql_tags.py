"""Tags in an SQLite file: shared, gone, broken, locked, only read."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from octopull.backends.contract import TagBackend
from octopull.backends.sql_tags import SqliteTags, opened_sqlite
from octopull.backends.tag_opening import opened_tags
from octopull.config.backends import TagBackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Changed, Misuse, NotFound, UpstreamFailed
from octopull.kernel.names import TagName

NAME = TagName("team/app", "v1")
A, B = Digest.of(b"a"), Digest.of(b"b")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tags.sqlite"


def move(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def files(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


def spoil(path: Path) -> None:
    path.write_bytes(b"noise" * 1000)


@pytest.fixture
def settings(path: Path) -> TagBackendSettings:
    return TagBackendSettings(url=f"sqlite://{path}", timeout_s=0.2)


@pytest.fixture
async def tags(settings: TagBackendSettings) -> AsyncIterator[SqliteTags]:
    async with opened_sqlite(settings) as one:
        yield one


async def test_several_processes_may_share_the_file(
    tags: SqliteTags, settings: TagBackendSettings
) -> None:
    async with opened_sqlite(replace(settings, timeout_s=20)) as other:
        patient = [other, other]
        version: str | None = None
        for turn in range(10):
            outcomes = await asyncio.gather(
                *(one.put_if(NAME, Digest.of(b"%d" % turn), version) for one in patient),
                return_exceptions=True,
            )
            (won,) = [one for one in outcomes if isinstance(one, str)]
            assert sum(isinstance(one, Changed) for one in outcomes) == 1
            assert (await tags.get(NAME)).version == won
            version = won


async def test_a_file_that_vanished_is_a_fault_until_it_is_back(
    tags: SqliteTags, path: Path
) -> None:
    await tags.put(NAME, A)
    away = move(path, "away")
    for call in (tags.get(NAME), tags.put(NAME, B), tags.list("team/app", "", 9)):
        with pytest.raises(UpstreamFailed, match=str(path)):
            await call
    move(away, path.name)
    assert (await tags.get(NAME)).digest == A


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mount" / "tags.sqlite"
    async with opened_tags([TagBackendSettings(url=f"sqlite://{path}")]) as backends:
        tags: TagBackend = backends.all[0].tags
        with pytest.raises(UpstreamFailed):
            await tags.put(NAME, A)
        path.parent.mkdir()
        await tags.put(NAME, A)
        assert (await tags.get(NAME)).digest == A


async def test_what_is_no_database_or_no_digest_is_the_files_fault(
    tags: SqliteTags, path: Path
) -> None:
    await tags.put(NAME, A)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE octopull_tags SET digest = 'sha256:short'")
    with pytest.raises(UpstreamFailed, match="no digest"):
        await tags.get(NAME)
    spoil(path)
    with pytest.raises(UpstreamFailed, match="not a database"):
        await tags.get(NAME)


async def test_a_lock_that_stays_is_not_waited_for_for_ever(tags: SqliteTags, path: Path) -> None:
    await tags.put(NAME, A)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UpstreamFailed, match="locked"):
            await tags.put(NAME, B)
    assert (await tags.get(NAME)).digest == A


async def test_a_file_that_is_only_read_is_left_as_it_is(
    tags: SqliteTags, settings: TagBackendSettings, path: Path
) -> None:
    async with AsyncExitStack() as stack:
        reading = replace(settings, read_only=True)
        early = await stack.enter_async_context(opened_sqlite(reading))
        with pytest.raises(UpstreamFailed):
            await early.get(NAME)
        assert files(path) == []
        await tags.put(NAME, A)
        assert (await early.get(NAME)).digest == A
        assert not early.writable
        with pytest.raises(UpstreamFailed, match="readonly"):
            await early.put(NAME, B)
        with pytest.raises(NotFound):
            await early.get(TagName("team/app", "v2"))


@pytest.mark.parametrize("url", ["sqlite://host/file", "sqlite:///", "sqlite:///x?mode=memory"])
async def test_a_url_names_a_file(url: str) -> None:
    with pytest.raises(Misuse, match="sqlite:///folder/file"):
        async with opened_tags([TagBackendSettings(url=url)]):
            pass
