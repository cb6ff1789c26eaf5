"""Tags in PostgreSQL, which goes away, comes back, and changes its mind about passwords."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from octopull.backends.contract import TagBackend
from octopull.backends.tag_opening import opened_tags
from octopull.config.backends import TagBackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound, UpstreamFailed
from octopull.kernel.names import TagName
from support.servers.postgres import PASSWORD, USER, Postgres, postgres

NAME = TagName("team/app", "v1")
A, B = Digest.of(b"a"), Digest.of(b"b")


@pytest.fixture
async def server() -> AsyncIterator[Postgres]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="postgres-") as place:
        async with postgres(Path(place)) as one:
            yield one


@pytest.fixture
def settings(server: Postgres) -> TagBackendSettings:
    return TagBackendSettings(
        url=server.url, credentials=str(server.credentials), timeout_s=5.0, name="the database"
    )


async def only(settings: TagBackendSettings, stack: AsyncExitStack) -> TagBackend:
    return (await stack.enter_async_context(opened_tags([settings]))).all[0].tags


async def test_a_database_that_was_away_is_used_again(
    server: Postgres, settings: TagBackendSettings
) -> None:
    await server.stop()
    async with AsyncExitStack() as stack:
        tags = await only(settings, stack)
        with pytest.raises(UpstreamFailed):
            await tags.get(NAME)
        for digest in (A, B):
            await server.start()
            await tags.put(NAME, digest)
            # These connections break while nobody looks.
            await server.stop()
            await server.start()
            assert (await tags.get(NAME)).digest == digest
            await server.stop()
            with pytest.raises(UpstreamFailed):
                await tags.put(NAME, B)
            with pytest.raises(UpstreamFailed):
                await tags.list("team/app", "", 10)


async def test_credentials_come_from_a_file_that_may_change_and_are_never_told(
    server: Postgres, settings: TagBackendSettings
) -> None:
    async with AsyncExitStack() as stack:
        tags = await only(settings, stack)
        told = repr(settings) + repr(tags)
        for wrong in (f"{USER}:not-{PASSWORD}", f"{USER}{PASSWORD}", ""):
            server.credentials.write_text(wrong)
            with pytest.raises(UpstreamFailed, match="the database") as raised:
                await tags.get(NAME)
            told += repr(raised.value) + str(raised.value.details)
        assert PASSWORD not in told
        server.credentials.write_text(f"{USER}:{PASSWORD}\n")
        with pytest.raises(NotFound):
            await tags.get(NAME)


async def test_credentials_may_come_from_the_environment(
    server: Postgres, settings: TagBackendSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGUSER", USER)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    async with AsyncExitStack() as stack:
        tags = await only(replace(settings, credentials=""), stack)
        await tags.put(NAME, A)
        assert (await tags.get(NAME)).digest == A


async def test_who_may_not_make_the_table_may_use_it(
    server: Postgres, settings: TagBackendSettings
) -> None:
    admin = await asyncpg.connect(server.url, user=USER, password=PASSWORD)
    await admin.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
    server.credentials.write_text("clerk:clerk")
    async with AsyncExitStack() as stack:
        clerk = await only(settings, stack)
        with pytest.raises(UpstreamFailed, match="InsufficientPrivilege"):
            await clerk.put(NAME, A)
        server.credentials.write_text(f"{USER}:{PASSWORD}")
        await (await only(settings, stack)).put(NAME, A)
        server.credentials.write_text("clerk:clerk")
        await admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON octopull_tags TO clerk")
        await admin.execute("GRANT USAGE ON octopull_tag_versions TO clerk")
        await clerk.put(NAME, B)
        assert (await clerk.get(NAME)).digest == B
        only_read = await only(replace(settings, read_only=True), stack)
        assert not only_read.writable
        assert (await only_read.get(NAME)).digest == B
    await admin.close()


async def test_what_is_no_digest_is_the_databases_fault(
    server: Postgres, settings: TagBackendSettings
) -> None:
    async with AsyncExitStack() as stack:
        tags = await only(settings, stack)
        await tags.put(NAME, A)
        admin = await asyncpg.connect(server.url, user=USER, password=PASSWORD)
        await admin.execute("UPDATE octopull_tags SET digest = 'sha256:short'")
        await admin.close()
        with pytest.raises(UpstreamFailed, match="no digest"):
            await tags.get(NAME)


async def test_a_database_that_hangs_is_not_waited_for_for_ever(
    server: Postgres, settings: TagBackendSettings
) -> None:
    async with AsyncExitStack() as stack:
        tags = await only(replace(settings, timeout_s=0.5), stack)
        await tags.put(NAME, A)
        admin = await asyncpg.connect(server.url, user=USER, password=PASSWORD)
        async with admin.transaction():
            await admin.execute("LOCK TABLE octopull_tags")
            with pytest.raises(UpstreamFailed, match="does not answer"):
                await tags.put(NAME, B)
        assert (await tags.get(NAME)).digest == A
        await admin.close()


@pytest.mark.parametrize("options", [{"password": "secret"}, {"user": "x"}])
async def test_secrets_have_no_place_in_the_settings(options: dict[str, str]) -> None:
    settings = TagBackendSettings(url="postgresql://127.0.0.1:1/tags", options=options)
    with pytest.raises(Misuse) as raised:
        async with opened_tags([settings]):
            pass
    assert "secret" not in str(raised.value) + str(raised.value.details)
