"""What every store does: one suite for the port ``Objects``, run on each line of ``STORES``."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.stores import STORES, Store
from octopull.backends.contract import CHUNK_BYTES_MAX, Feature, Objects, Span
from octopull.kernel.errors import Changed, Corrupt, Fault, InvalidName, NotFound, Unsupported
from support.contents import Bytes, joined

MIB = 1 << 20
LARGE = 20 * MIB + 7
SIZES = (0, 1, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, LARGE)
PATTERN = bytes(range(251)) * 4096
ODD = ("a+b", "a:b", "a@b", "a=b", "a~b", "_a", "-a", ".a", "a..b", "A", "a" * 250)
BAD = ("", "/", "/a", "a/", "a//b", "a/../b", "..", ".", "./a", "~a", "a/~b", "a b", "a\n", "a\\b",
       "a?b", "a#b", "a%2fb", "\N{LATIN SMALL LETTER E WITH ACUTE}", "a*", "a" * 1025)  # fmt: skip


def made(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param](tmp_path) as one:
        yield one


def needs(store: Store, *features: Feature) -> Objects:
    """The store's objects; what it does not offer it must refuse, which another test shows."""
    if not store.objects.features >= set(features):
        pytest.skip("this store does not offer that")
    return store.objects


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_put_is_what_is_got(store: Store, size: int) -> None:
    await store.put("folder/one", made(size))
    seen = hashlib.sha256()
    async with aclosing(store.objects.get("folder/one")) as chunks:
        async for chunk in chunks:
            assert 0 < len(chunk) <= CHUNK_BYTES_MAX
            seen.update(chunk)
    assert seen.digest() == hashlib.sha256(made(size)).digest()
    assert (await store.objects.stat("folder/one")).size == size


@pytest.mark.parametrize("start", [0, 1, CHUNK_BYTES_MAX, 3 * MIB - 1, 3 * MIB])
@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES_MAX + 1, 3 * MIB])
async def test_a_span_gives_those_bytes(store: Store, start: int, length: int) -> None:
    content = made(6 * MIB)
    await store.put("one", content)
    got = await joined(store.objects.get("one", Span(start, length)))
    assert got == content[start : start + length]


@pytest.mark.parametrize("span", [Span(5, 1), Span(4, 2), Span(9, 9), Span(0, 6)])
async def test_a_span_beyond_the_object_is_no_shorter_answer(store: Store, span: Span) -> None:
    await store.put("one", b"12345")
    with pytest.raises(Fault) as failed:
        await joined(store.objects.get("one", span))
    assert not isinstance(failed.value, NotFound)


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    await store.put("folder/one", b"1")
    for key in ("two", "folder/two", "folder", "folder/one/two", "other/one", "folder/on"):
        with pytest.raises(NotFound):
            await store.objects.stat(key)
        with pytest.raises(NotFound):
            await joined(store.objects.get(key))
        with pytest.raises(NotFound):
            await joined(store.objects.get(key, Span(0, 1)))


async def test_the_version_tells_each_change(store: Store) -> None:
    objects = needs(store, Feature.PUT)
    seen = set[str]()
    for content in (b"1", b"2", b"33", b"4"):
        await objects.put("one", Bytes(content))
        first = await objects.stat("one")
        assert first == await objects.stat("one")
        assert first.version not in seen or not first.version
        seen.add(first.version)


async def test_readers_of_what_is_replaced_see_the_old_or_the_new_whole(store: Store) -> None:
    objects = needs(store, Feature.PUT)
    versions = [bytes([number]) * (3 * MIB) for number in range(4)]
    await objects.put("one", Bytes(versions[0]))
    ended = asyncio.Event()
    reads = 0

    async def read() -> None:
        nonlocal reads
        while not ended.is_set():
            with suppress(Corrupt):  # Noticed while it was read: as good.
                assert await joined(objects.get("one")) in versions
            reads += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(read())
        for content in versions[1:]:
            await objects.put("one", Bytes(content))
        ended.set()
    assert reads
    assert await joined(objects.get("one")) == versions[-1]


@dataclass(frozen=True)
class Broken:
    """A content that raises, or is cancelled, after ``good`` of its bytes."""

    size: int
    good: int
    error: BaseException

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for at in range(0, self.good, CHUNK_BYTES_MAX):
            yield b"x" * min(CHUNK_BYTES_MAX, self.good - at)
        raise self.error


@pytest.mark.parametrize("good", [0, 1, 12 * MIB])
@pytest.mark.parametrize("error", [NotFound("gone from our disk"), asyncio.CancelledError()])
async def test_a_put_that_fails_half_way_changes_nothing(
    store: Store, good: int, error: BaseException
) -> None:
    objects = needs(store, Feature.PUT)
    await objects.put("one", Bytes(b"old"))
    for key in ("one", "two"):
        with pytest.raises(type(error)):
            await objects.put(key, Broken(LARGE, good, error))
    assert await joined(objects.get("one")) == b"old"
    with pytest.raises(NotFound):
        await objects.stat("two")


@pytest.mark.parametrize("size", [4, LARGE])
@pytest.mark.parametrize("off", [-1, 1])
async def test_a_content_of_another_length_than_it_says_is_not_stored(
    store: Store, size: int, off: int
) -> None:
    objects = needs(store, Feature.PUT)
    with pytest.raises(Fault):
        await objects.put("one", Bytes(made(size), told=size + off))
    with pytest.raises(NotFound):
        await objects.stat("one")


async def test_a_conditional_put_stores_if_nothing_changed(store: Store) -> None:
    objects = needs(store, Feature.PUT_IF, Feature.PUT)
    with pytest.raises(Changed):
        await objects.put_if("one", b"2", "1")
    first = await objects.put_if("one", b"1", None)
    assert first == (await objects.stat("one")).version
    with pytest.raises(Changed):
        await objects.put_if("one", b"2", None)
    second = await objects.put_if("one", b"2", first)
    assert second != first
    for stale in (first, None, "x"):
        with pytest.raises(Changed):
            await objects.put_if("one", b"3", stale)
    assert await joined(objects.get("one")) == b"2"
    await objects.put("one", Bytes(b"4"))
    with pytest.raises(Changed):
        await objects.put_if("one", b"5", second)
    assert await joined(objects.get("one")) == b"4"


async def test_of_conditional_puts_at_once_exactly_one_wins(store: Store) -> None:
    objects = needs(store, Feature.PUT_IF)
    expected: str | None = None
    for turn in range(4):
        contents = [f"{turn} {number}".encode() for number in range(8)]
        answers = await asyncio.gather(
            *(objects.put_if("one", content, expected) for content in contents),
            return_exceptions=True,
        )
        won = [at for at, answer in enumerate(answers) if isinstance(answer, str)]
        assert len(won) == 1, answers
        assert all(isinstance(one, Changed | str) for one in answers), answers
        assert await joined(objects.get("one")) == contents[won[0]]
        expected = str(answers[won[0]])
        assert expected == (await objects.stat("one")).version


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    objects = needs(store, Feature.PUT, Feature.DELETE)
    await objects.delete("folder/one")
    await objects.put("folder/one", Bytes(b"1"))
    await objects.put("folder/two", Bytes(b"2"))
    for _ in range(2):
        await objects.delete("folder/one")
        with pytest.raises(NotFound):
            await objects.stat("folder/one")
    assert await joined(objects.get("folder/two")) == b"2"


async def test_odd_keys_are_keys(store: Store) -> None:
    contents = {f"top/{name}": f"1 {name}".encode() for name in ODD}
    contents |= {f"odd/{name}/x": f"2 {name}".encode() for name in ODD}
    for key, content in contents.items():
        await store.put(key, content)
    for key, content in contents.items():
        assert await joined(store.objects.get(key)) == content, key
    if Feature.LIST in store.objects.features:
        assert await store.objects.list("top/", "", 100) == sorted(f"top/{one}" for one in ODD)
        assert await store.objects.list("odd/", "", 100) == sorted(f"odd/{one}/x" for one in ODD)


@pytest.mark.parametrize("key", BAD)
async def test_what_is_no_key_is_refused(store: Store, key: str) -> None:
    with pytest.raises(InvalidName):
        await store.objects.stat(key)
    with pytest.raises(InvalidName):
        await joined(store.objects.get(key))
    if Feature.PUT in store.objects.features:
        with pytest.raises(InvalidName):
            await store.objects.put(key, Bytes(b"1"))
    if Feature.PUT_IF in store.objects.features:
        with pytest.raises(InvalidName):
            await store.objects.put_if(key, b"1", None)
    if Feature.DELETE in store.objects.features:
        with pytest.raises(InvalidName):
            await store.objects.delete(key)


async def test_what_is_not_offered_is_refused(store: Store) -> None:
    objects = store.objects
    await store.put("one", b"1")
    calls: dict[Feature, Callable[[], Awaitable[object]]] = {
        Feature.PUT: lambda: objects.put("one", Bytes(b"2")),
        Feature.PUT_IF: lambda: objects.put_if("one", b"2", None),
        Feature.DELETE: lambda: objects.delete("one"),
        Feature.LIST: lambda: objects.list("", "", 1),
    }
    for feature in calls.keys() - objects.features:
        with pytest.raises(Unsupported):
            await calls[feature]()
    assert await joined(objects.get("one")) == b"1"


async def all_of(objects: Objects, prefix: str, count: int) -> list[str]:
    found: list[str] = []
    while True:
        page = await objects.list(prefix, found[-1] if found else "", count)
        assert len(page) <= count
        found += page
        if len(page) < count:
            return found


async def test_lists_are_whole_and_in_order_of_bytes_page_by_page(store: Store) -> None:
    objects = needs(store, Feature.LIST)
    assert await objects.list("", "", 10) == []
    # No key is both an object and a folder of others: not all stores can do that.
    few = ["a", "a-b/c", "a.b", "b/a-b/x", "b/a.b", "b/a/b", "b/a/x", "b/a0", "b/ab", "c/B"]
    few += ["c/_", "c/a", "c/a~", "d"]
    keys = sorted({*few, *(f"many/{at % 7}/{at:05}" for at in range(store.keys - len(few)))})
    together = asyncio.Semaphore(16)

    async def put(key: str) -> None:
        async with together:
            await store.put(key, b"")

    await asyncio.gather(*(put(key) for key in keys))
    assert await all_of(objects, "", 1000) == keys
    assert await all_of(objects, "", 1 + len(keys) // 4) == keys
    assert await all_of(objects, "b", 2) == [key for key in keys if key.startswith("b")]
    for prefix in ("a", "a-", "b/", "b/a", "b/a/", "b/a0", "c/", "many/3/", "many/3/0000", "no",
                   "b/a/b", "b/a/bb", "zz", "many/6", "../", "/", "b//", "%"):  # fmt: skip
        assert (
            await objects.list(prefix, "", 1000)
            == [key for key in keys if key.startswith(prefix)][:1000]
        ), prefix
    for after in ("a", "b", "b/", "b/a", "b/a/", "b/a/b", "b/a/bb", "b/zz", "many/3", "zz"):
        assert await objects.list("", after, 5) == [key for key in keys if key > after][:5], after
        assert (
            await objects.list("b/", after, 5)
            == [key for key in keys if key > after and key.startswith("b/")][:5]
        ), after


async def test_many_read_and_write_at_once(store: Store) -> None:
    contents = {f"at/{number}": made(number * 100_000) for number in range(16)}
    await asyncio.gather(*(store.put(key, content) for key, content in contents.items()))

    async def read(key: str) -> None:
        assert await joined(store.objects.get(key)) == contents[key]

    await asyncio.gather(*(read(key) for key in contents for _ in range(2)))


async def test_a_reader_may_stop_half_way(store: Store) -> None:
    await store.put("one", made(LARGE))
    for _ in range(20):
        async with aclosing(store.objects.get("one")) as chunks:
            async for chunk in chunks:
                assert chunk
                break
    assert (await store.objects.stat("one")).size == LARGE


@dataclass(frozen=True)
class Repeated:
    """A large content that takes no memory."""

    size: int

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for at in range(0, self.size, len(PATTERN)):
            yield PATTERN[: self.size - at]


async def test_memory_is_bounded_whatever_the_size(store: Store) -> None:
    objects = needs(store, Feature.PUT)
    if store.here:
        pytest.skip("this store's server is in the test's own process")
    tracemalloc.start()
    try:
        await objects.put("one", Repeated(64 * MIB))
        size = 0
        async with aclosing(objects.get("one")) as chunks:
            async for chunk in chunks:
                size += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 64 * MIB
    assert peak < 24 * MIB
