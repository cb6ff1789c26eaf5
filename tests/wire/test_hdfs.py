"""HDFS as a store, in Hadoop's own minicluster, and behind fronts that break and lie."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from octopull.backends.contract import BlobName, Feature, Span
from octopull.backends.hdfs import TEMPORARY, TEMPORARY_S_MAX, Hdfs, connected
from octopull.backends.opening import opened
from octopull.config.backends import BackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    InvalidName,
    NotFound,
    Unavailable,
    Unsupported,
)  # fmt: skip
from support.contents import Bytes, joined
from support.servers.hadoop import Hadoop, hadoop, hdfs
from support.servers.webhdfs_front import Front, front
from support.waiting import until

CONTENT = os.urandom(9 * 1024 * 1024)
"""Three blocks of the minicluster."""

NOWHERE = "127.0.0.1:1"


@pytest.fixture
async def server() -> AsyncIterator[Hadoop]:
    async with hadoop() as one:
        yield one


@pytest.fixture
async def store(server: Hadoop) -> AsyncIterator[Hdfs]:
    async with hdfs() as one:
        yield one


@asynccontextmanager
async def beside(store: Hdfs, *namenodes: str, **settings: object) -> AsyncIterator[Hdfs]:
    """The same folder by other ``namenodes``."""
    known = store._calls._settings
    more = {"options": known.options, "timeout_s": 5.0, **settings}
    url = f"hdfs://{','.join(namenodes)}{store._root}"
    async with connected(BackendSettings(url=url, **more)) as one:  # type: ignore[arg-type]
        yield one


@asynccontextmanager
async def fronted(
    server: Hadoop, store: Hdfs, *more: str, **settings: object
) -> AsyncIterator[tuple[Front, Hdfs]]:
    """The same folder behind a front, and ``more`` namenodes after that."""
    async with (
        front(server.namenodes[0]) as one,
        beside(store, one.address, *more, **settings) as behind,
    ):
        yield one, behind


async def temporary(store: Hdfs) -> list[str]:
    try:
        return [one.path_suffix for one in (await store._calls.entries(store._temporary, ""))[0]]
    except NotFound:
        return []


# What any store does.


async def test_objects_come_back_whole_and_in_parts(store: Hdfs) -> None:
    for size in (0, 1, 1024 * 1024, len(CONTENT)):
        await store.put("a/b", Bytes(CONTENT[:size]))
        assert (await store.stat("a/b")).size == size
        assert await joined(store.get("a/b")) == CONTENT[:size]
    for start, length in [(0, 1), (4 << 20, 1), ((4 << 20) - 1, 2), (len(CONTENT) - 3, 3), (9, 0)]:
        found = await joined(store.get("a/b", Span(start, length)))
        assert found == CONTENT[start : start + length]
    assert await temporary(store) == []


async def test_what_is_not_there_is_not_found(store: Hdfs) -> None:
    await store.put("a/b/c", Bytes(b"x"))
    for key in ("a/x", "a/b/c/d", "a/b", "x/y"):
        with pytest.raises(NotFound):
            await store.stat(key)
        with pytest.raises(NotFound):
            await joined(store.get(key))
        with pytest.raises(NotFound):
            await joined(store.get(key, Span(0, 1)))


async def test_each_put_makes_another_version(store: Hdfs) -> None:
    await store.put("a", Bytes(b"1"))
    first = await store.stat("a")
    assert await store.stat("a") == first
    await store.put("a", Bytes(b"1"))
    assert (await store.stat("a")).version != first.version


async def test_deleting_leaves_neither_object_nor_folder(store: Hdfs) -> None:
    await store.put("a/b/c", Bytes(b"1"))
    await store.put("a/d", Bytes(b"1"))
    await store.delete("a/b")
    assert await store.list("", "", 10) == ["a/b/c", "a/d"]
    for _ in range(2):
        await store.delete("a/b/c")
    assert await store.list("", "", 10) == ["a/d"]
    names = (await store._calls.entries(f"{store._root}/a", ""))[0]
    assert [one.path_suffix for one in names] == ["d"]


async def test_lists_are_in_order_of_bytes_over_many_pages(store: Hdfs) -> None:
    keys = [f"many/{number:04d}" for number in range(130)]
    keys += ["a", "b/x", "b-b", "b.b", "b0", "b:b", "b+b", "c/x=@~", "c/x:"]
    at_once = asyncio.Semaphore(16)

    async def put(key: str) -> None:
        async with at_once:
            await store.put(key, Bytes(b"x"))

    await asyncio.gather(*map(put, keys))
    keys.sort()
    assert await store.list("", "", 1000) == keys
    assert await store.list("b", "", 1000) == [key for key in keys if key.startswith("b")]
    assert await store.list("b", "b.b", 2) == ["b/x", "b0"]
    assert await store.list("many/01", "many/0110", 100) == keys[-19:]
    paged = list[str]()
    while more := await store.list("", paged[-1] if paged else "", 60):
        paged += more
    assert paged == keys


async def test_files_of_others_are_not_listed(store: Hdfs) -> None:
    await store.put("a/b", Bytes(b"x"))
    for name in ("a/b c", "a/ünläut", "a/x,y", "%"):
        await store._calls.write(f"{store._root}/{name}", Bytes(b"x"))
    assert await store.list("", "", 10) == ["a/b"]


async def test_names_that_hdfs_has_for_itself_are_no_keys(store: Hdfs) -> None:
    for key in ("a/.snapshot/b", ".reserved/x", "a" * 256, "a/../b", "/a"):
        with pytest.raises(InvalidName):
            await store.put(key, Bytes(b"x"))
        with pytest.raises(InvalidName):
            await store.stat(key)


async def test_it_does_not_claim_to_compare(store: Hdfs) -> None:
    assert Feature.PUT_IF not in store.features
    with pytest.raises(Unsupported):
        await store.put_if("a", b"x", None)


async def test_blobs_and_their_metainfo_are_kept_behind_all_decorators(store: Hdfs) -> None:
    blob = BlobName("team/app", Digest.of(CONTENT))
    async with opened([store._calls._settings]) as found:
        blobs = found.of("team/app")
        assert blobs is not None
        assert blobs.writable
        with pytest.raises(NotFound):
            await blobs.stat(blob)
        await blobs.put_metainfo(blob, b"metainfo")
        await blobs.put(blob, Bytes(CONTENT))
        assert await blobs.stat(blob) == len(CONTENT)
        assert await joined(blobs.get(blob, 5)) == CONTENT[5:]
        assert await blobs.metainfo(blob) == b"metainfo"
        await blobs.delete(blob)
        with pytest.raises(NotFound):
            await blobs.stat(blob)
    assert await store.list("", "", 10) == []


# Puts that fail.


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (Bytes(CONTENT, failure=Corrupt("the disk lies")), Corrupt),
        (Bytes(CONTENT[:-1], told=len(CONTENT)), Corrupt),
        (Bytes(CONTENT, told=len(CONTENT) - 1), Corrupt),
        (Bytes(b"", told=1), Corrupt),
    ],
)
async def test_a_put_that_fails_leaves_the_old_bytes(
    store: Hdfs, content: Bytes, fault: type[Exception]
) -> None:
    await store.put("a", Bytes(b"old"))
    with pytest.raises(fault):
        await store.put("a", content)
    assert await joined(store.get("a")) == b"old"
    assert await temporary(store) == []


async def test_a_put_that_is_given_up_leaves_nothing(store: Hdfs) -> None:
    class Endless(Bytes):
        async def chunks(self) -> AsyncGenerator[bytes, None]:
            yield b"x"
            await asyncio.Event().wait()

    async def begun() -> bool:
        return await temporary(store) != []

    task = asyncio.create_task(store.put("a", Endless(b"", told=2)))
    await until(begun, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(NotFound):
        await store.stat("a")
    assert await temporary(store) == []


async def test_what_a_killed_process_left_is_swept(store: Hdfs) -> None:
    calls, old_ms = store._calls, 1_000_000_000_000
    for name in ("old", "new"):
        await calls.write(f"{store._temporary}/{name}", Bytes(b"x"))
    query = {"modificationtime": str(old_ms)}
    await calls._ask("PUT", f"{store._temporary}/old", "SETTIMES", query)
    assert sorted(await temporary(store)) == ["new", "old"]
    await store.put("a", Bytes(b"x"))
    assert await temporary(store) == ["new"]
    assert TEMPORARY_S_MAX < 1_000_000_000
    assert await store.list("", "", 10) == ["a"]
    assert TEMPORARY.startswith(",")


async def test_datanodes_are_asked_to_sync_what_they_write(server: Hadoop, store: Hdfs) -> None:
    async with fronted(server, store) as (one, behind):
        await behind.put("a", Bytes(b"x"))
        created = next(url.query for url in one.asked if url.query["op"] == "CREATE")
        assert created["createflag"] == "CREATE,SYNC_BLOCK"


async def test_a_rename_whose_answer_is_lost_is_recognized(server: Hadoop, store: Hdfs) -> None:
    async with fronted(server, store, server.namenodes[0]) as (one, behind):
        await behind.put("a", Bytes(b"old"))
        one.loses = "RENAME"
        await behind.put("a", Bytes(b"new"))
        assert behind._calls._active == 1
    assert await joined(store.get("a")) == b"new"
    assert await temporary(store) == []


async def test_an_object_can_t_be_a_folder_too(store: Hdfs) -> None:
    await store.put("a", Bytes(b"x"))
    with pytest.raises(Unavailable):
        await store.put("a/b", Bytes(b"x"))
    assert await joined(store.get("a")) == b"x"
    await store.put("c/d", Bytes(b"x"))
    with pytest.raises(Unavailable):
        await store.put("c", Bytes(b"x"))
    assert await temporary(store) == []


# Namenodes.


async def test_the_namenode_that_is_active_is_found_and_kept(server: Hadoop, store: Hdfs) -> None:
    await store.put("a", Bytes(b"1"))
    await server.tell("active 1")
    assert await joined(store.get("a")) == b"1"
    await store.put("b", Bytes(b"2"))
    assert store._calls._active == 1
    await server.tell("active 0")
    assert await store.list("", "", 10) == ["a", "b"]
    assert store._calls._active == 0


async def test_without_an_active_namenode_nothing_is_known(server: Hadoop, store: Hdfs) -> None:
    await server.tell("standby")
    with pytest.raises(Unavailable, match="Standby"):
        await store.stat("a")
    await server.tell("active 0")
    with pytest.raises(NotFound):
        await store.stat("a")


async def test_a_namenode_that_is_down_is_passed_over(server: Hadoop, store: Hdfs) -> None:
    async with beside(store, NOWHERE, *server.namenodes) as one:
        await one.put("a", Bytes(b"1"))
        assert one._calls._active == 1
    async with beside(store, NOWHERE) as alone:
        with pytest.raises(Unavailable, match="no namenode"):
            await alone.stat("a")


async def test_a_namenode_that_is_silent_is_passed_over(server: Hadoop, store: Hdfs) -> None:
    await store.put("a", Bytes(b"1"))
    async with fronted(server, store, server.namenodes[0], timeout_s=0.5) as (one, behind):
        one.hangs = "GETFILESTATUS"
        assert (await behind.stat("a")).size == 1


@pytest.mark.parametrize("status", [500, 503])
async def test_a_front_that_fails_is_passed_over(server: Hadoop, store: Hdfs, status: int) -> None:
    await store.put("a", Bytes(b"1"))
    async with fronted(server, store, *server.namenodes) as (one, behind):
        one.status = status
        assert (await behind.stat("a")).size == 1


async def test_a_busy_front_says_until_when(server: Hadoop, store: Hdfs) -> None:
    async with fronted(server, store) as (one, behind):
        one.status, one.headers = 429, {"Retry-After": "7"}
        with pytest.raises(Unavailable) as told:
            await behind.stat("a")
        assert told.value.details["rests_s"] == 7


async def test_a_namenode_that_is_none_is_corrupt(server: Hadoop, store: Hdfs) -> None:
    async with fronted(server, store) as (one, behind):
        one.status = 200
        with pytest.raises(Corrupt):
            await behind.stat("a")


async def test_an_old_namenode_that_only_redirects_serves(server: Hadoop, store: Hdfs) -> None:
    async with fronted(server, store) as (one, behind):
        one.redirects = True
        await behind.put("a", Bytes(CONTENT))
        assert await joined(behind.get("a", Span(1, 5))) == CONTENT[1:6]


async def test_safe_mode_is_read_and_not_written(server: Hadoop, store: Hdfs) -> None:
    await store.put("a", Bytes(b"1"))
    await server.tell("safe on")
    try:
        with pytest.raises(Unavailable, match="safe mode"):
            await store.put("b", Bytes(b"1"))
        assert await joined(store.get("a")) == b"1"
    finally:
        await server.tell("safe off")


# Datanodes.


async def test_a_datanode_that_died_is_left_out(server: Hadoop, store: Hdfs) -> None:
    await store.put("a", Bytes(CONTENT))
    await server.tell("datanode down")
    try:
        for _ in range(4):  # The namenode still sends us there, now and then.
            assert await joined(store.get("a")) == CONTENT
        await store.put("b", Bytes(b"1"))
    finally:
        await server.tell("datanode up")
    assert await joined(store.get("b")) == b"1"


async def test_dead_datanodes_are_named_to_the_namenode(server: Hadoop, store: Hdfs) -> None:
    async with fronted(server, store) as (one, behind):
        one.datanodes = [f"http://{NOWHERE}"]
        await behind.put("a", Bytes(CONTENT))
        assert one.excluded == [NOWHERE]
        one.datanodes = [f"http://{NOWHERE}", "http://127.0.0.1:2"]
        assert await joined(behind.get("a")) == CONTENT
        assert one.excluded == [NOWHERE, NOWHERE, NOWHERE, "127.0.0.1:2"]
        one.datanodes = [f"http://127.0.0.1:{port}" for port in (1, 2, 3, 4)]
        with pytest.raises(Unavailable):
            await joined(behind.get("a"))
        assert one.datanodes == ["http://127.0.0.1:4"]
        one.datanodes = [f"http://{NOWHERE}"] * 3
        assert await joined(behind.get("a")) == CONTENT
        one.datanodes = [f"http://{NOWHERE}"] * 20
        with pytest.raises(Unavailable, match="no datanode"):
            await joined(behind.get("a"))


async def test_a_namenode_may_not_send_us_inside(server: Hadoop, store: Hdfs) -> None:
    await store.put("a", Bytes(b"1"))
    async with fronted(server, store) as (one, behind):
        one.datanodes = ["http://169.254.169.254"]
        with pytest.raises(Unavailable, match="may not send us"):
            await joined(behind.get("a"))


async def test_bytes_that_are_missing_are_noticed(server: Hadoop, store: Hdfs) -> None:
    await store.put("a", Bytes(b"12345"))
    async with fronted(server, store) as (one, behind):
        one.body, one.length = b"123", 5
        one.datanodes = [f"http://{one.address}/datanode"]
        with pytest.raises(Unavailable):
            await joined(behind.get("a"))
        one.body, one.length = b"123", 3
        one.datanodes = [f"http://{one.address}/datanode"]
        with pytest.raises(Corrupt, match="length"):
            await joined(behind.get("a", Span(0, 5)))


@pytest.mark.parametrize("stores", [None, 3])
async def test_bytes_that_were_not_stored_are_noticed(
    server: Hadoop, store: Hdfs, stores: int | None
) -> None:
    await store.put("a", Bytes(b"12345"))
    async with fronted(server, store) as (one, behind):
        one.stores = stores
        one.datanodes = [f"http://{one.address}/datanode"]
        with pytest.raises(Unavailable, match="not stored"):
            await behind.put("a", Bytes(b"123456"))
    assert await joined(store.get("a")) == b"12345"
    assert await temporary(store) == []


async def test_a_datanode_may_refuse_before_all_is_sent(server: Hadoop, store: Hdfs) -> None:
    class Waiting(Bytes):
        async def chunks(self) -> AsyncGenerator[bytes, None]:
            yield b"x"
            await asyncio.Event().wait()

    async with fronted(server, store) as (one, behind):
        one.refuses = 507
        one.datanodes = [f"http://{one.address}/datanode"]
        with pytest.raises(Unavailable, match="507"):
            await behind.put("a", Waiting(b"", told=1_000_000))


# Who we are.


async def test_users_may_not_do_all(store: Hdfs, server: Hadoop) -> None:
    async with beside(store, *server.namenodes, options={"user": "stranger"}) as one:
        with pytest.raises(Unavailable, match="does not permit") as told:
            await one.put("a", Bytes(b"1"))
        assert "\n" not in str(told.value)


async def test_the_user_may_come_from_a_file_that_changes(
    store: Hdfs, server: Hadoop, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("HADOOP_USER_NAME=stranger\n")
    async with beside(store, *server.namenodes, options={}, credentials=str(file)) as one:
        with pytest.raises(Unavailable):
            await one.put("a", Bytes(b"1"))
        file.write_text(f"HADOOP_USER_NAME={server.user}\n")
        await one.put("a", Bytes(b"1"))
        file.unlink()
        with pytest.raises(Unavailable, match="credentials"):
            await one.stat("a")


async def test_tokens_are_shown_to_namenodes_and_to_nobody_else(
    server: Hadoop, store: Hdfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_DELEGATION_TOKEN", "token-is-secret")
    async with fronted(server, store, options={}) as (one, behind):
        one.status = 401
        with pytest.raises(Unavailable, match="who we are") as told:
            await behind.stat("a")
        assert one.asked[-1].query["delegation"] == "token-is-secret"
        assert "user.name" not in one.asked[-1].query
        assert "secret" not in str(told.value) + repr(told.value.details)
    async with beside(store, NOWHERE, options={}) as nobody:
        with pytest.raises(Unavailable) as told:
            await nobody.stat("a")
        assert "secret" not in str(told.value) + repr(told.value.__cause__)
