"""What every store of tags does: one suite for the port ``TagBackend``."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from octopull.backends.contract import TagBackend
from octopull.backends.tag_opening import opened_tags
from octopull.config.backends import TagBackendSettings
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import Changed, NotFound
from octopull.kernel.names import TagName
from support.servers.moto import moto
from support.servers.postgres import postgres

A, B = Digest.of(b"a"), Digest.of(b"b", Algorithm.SHA512)
NAME = TagName("team/app", "v1.0")
Maker = Callable[[AsyncExitStack, Path], Awaitable[TagBackendSettings]]


async def sqlite(_: AsyncExitStack, folder: Path) -> TagBackendSettings:
    return TagBackendSettings(url=f"sqlite://{folder}/tags.sqlite")


async def postgresql(stack: AsyncExitStack, folder: Path) -> TagBackendSettings:
    del folder
    place = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp", prefix="postgres-"))
    server = await stack.enter_async_context(postgres(Path(place)))
    return TagBackendSettings(url=server.url, credentials=str(server.credentials))


async def folder(_: AsyncExitStack, folder: Path) -> TagBackendSettings:
    return TagBackendSettings(url=f"file://{folder}")


async def s3(stack: AsyncExitStack, folder: Path) -> TagBackendSettings:
    del folder
    told = (await stack.enter_async_context(moto())).settings()
    return TagBackendSettings(url=told.url, credentials=told.credentials, options=told.options)


MAKERS: list[Maker] = [sqlite, postgresql, folder, s3]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def tags(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TagBackend]:
    async with AsyncExitStack() as stack:
        settings = await request.param(stack, tmp_path)
        backends = await stack.enter_async_context(opened_tags([settings]))
        yield backends.all[0].tags


async def test_a_tag_stands_for_what_was_put_last_until_it_is_deleted(tags: TagBackend) -> None:
    assert tags.writable
    with pytest.raises(NotFound):
        await tags.get(NAME)
    await tags.delete(NAME)
    seen = ""
    for digest in (A, B, A):
        await tags.put(NAME, digest)
        entry = await tags.get(NAME)
        assert entry.digest == digest
        assert entry.version != seen or not entry.version
        assert await tags.get(NAME) == entry
        seen = entry.version
    await tags.delete(NAME)
    with pytest.raises(NotFound):
        await tags.get(NAME)


async def test_names_that_differ_are_apart(tags: TagBackend) -> None:
    others = [TagName("team/app", "V1.0"), TagName("team/app", "v1"), TagName("team", "v1.0"),
              TagName("team/app/v1.0", "v1.0"), TagName("team/app", "current")]  # fmt: skip
    await tags.put(NAME, A)
    for other in others:
        with pytest.raises(NotFound):
            await tags.get(other)
        await tags.put(other, B)
    assert (await tags.get(NAME)).digest == A
    await tags.delete(NAME)
    for other in others:
        assert (await tags.get(other)).digest == B


async def test_what_is_put_over_another_version_than_the_expected_is_refused(
    tags: TagBackend,
) -> None:
    first = await tags.put_if(NAME, A, None)
    for expected in (None, "0", first + "0"):
        with pytest.raises(Changed):
            await tags.put_if(NAME, B, expected)
    assert (await tags.get(NAME)).digest == A
    assert (await tags.get(NAME)).version == first
    second = await tags.put_if(NAME, B, first)
    assert second != first
    with pytest.raises(Changed):
        await tags.put_if(NAME, A, first)
    await tags.delete(NAME)
    with pytest.raises(Changed):
        await tags.put_if(NAME, A, second)
    assert await tags.put_if(NAME, A, None) != second


async def test_tags_are_listed_in_order_of_bytes_page_by_page(tags: TagBackend) -> None:
    told = ["1", "1-rc", "1.0", "1.0-rc.1", "1.0.1", "10", "A", "Z", "_x", "a", "a-b", "a.b", "b"]
    assert await tags.list("team/app", "", 10) == []
    for tag in reversed(told):
        await tags.put(TagName("team/app", tag), A)
        await tags.put(TagName("team/app-2", tag), A)
    await tags.put(TagName("team/app", "1.0"), B)
    assert told == sorted(told)
    for count in (1, 2, 5, 13, 14):
        found: list[str] = []
        while page := await tags.list("team/app", found[-1] if found else "", count):
            assert len(page) == count or len(found) + len(page) == len(told)
            found += page
        assert found == told
    assert await tags.list("team/app", "1.", 2) == ["1.0", "1.0-rc.1"]
    assert await tags.list("team", "", 10) == []
    await tags.delete(TagName("team/app", "1"))
    assert await tags.list("team/app", "", 2) == ["1-rc", "1.0"]
