"""Patience with stores: what is repeated, what goes on where it broke, and when it ends."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from octopull.backends import circuit, deadlines
from octopull.backends.contract import Content, Span
from octopull.backends.deadlines import Deadlines
from octopull.backends.files import Files
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import Changed, Corrupt, Fault, NotFound, Unavailable
from support.contents import Bytes, joined
from support.failing import Failing

BLOB = bytes(range(256)) * 12_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PAUSE_S", 0.001)
    monkeypatch.setattr(circuit, "REST_S", 0.5)


def settings(
    timeout_s: float = 5.0, hedge_s: float = 0.0, attempts_max: int = 4
) -> BackendSettings:
    return BackendSettings(
        url="s3://bucket", timeout_s=timeout_s, attempts_max=attempts_max, hedge_s=hedge_s
    )


async def store(root: Path, **failing: object) -> tuple[Files, Failing]:
    files = Files(root)
    await files.put("a/blob", Bytes(BLOB))
    return files, Failing(files, **failing)  # type: ignore[arg-type]


async def test_what_is_safe_is_repeated_and_no_oftener_than_said(tmp_path: Path) -> None:
    _, failing = await store(tmp_path)
    patient = Deadlines(failing, settings())
    for before, call in ((3, "stat"), (3, "put"), (3, "delete"), (3, "list")):
        failing.before, failing.asked = before, []
        match call:
            case "stat":
                assert (await patient.stat("a/blob")).size == len(BLOB)
            case "put":
                await patient.put("a/new", Bytes(b"new"))
            case "delete":
                await patient.delete("a/new")
            case _:
                assert await patient.list("a/", "", 10) == ["a/blob"]
        assert failing.asked == [call] * 4
    failing.before, failing.asked = 4, []
    with pytest.raises(Unavailable, match="told to fail"):
        await patient.stat("a/blob")
    assert failing.asked == ["stat"] * 4


async def test_what_is_not_there_is_not_asked_for_again(tmp_path: Path) -> None:
    _, failing = await store(tmp_path)
    patient = Deadlines(failing, settings())
    with pytest.raises(NotFound):
        await patient.stat("none")
    with pytest.raises(NotFound):
        await joined(patient.get("none"))
    assert failing.asked == ["stat", "get"]


@pytest.mark.parametrize("span", [None, Span(100, 2_000_000)])
async def test_a_body_goes_on_where_it_broke(tmp_path: Path, span: Span | None) -> None:
    _, failing = await store(tmp_path, cuts=5, cut_bytes=300_000)
    expected = BLOB if span is None else BLOB[span.start : span.start + span.length]
    assert await joined(Deadlines(failing, settings()).get("a/blob", span)) == expected
    assert [one for one in failing.asked if one.startswith("get")][1:3] == [
        f"get {(span.start if span else 0) + at}-{(span.start if span else 0) + len(expected)}"
        for at in (300_000, 600_000)
    ]


async def test_a_body_that_brings_nothing_ends_after_so_many_attempts(tmp_path: Path) -> None:
    _, failing = await store(tmp_path, cuts=100)
    with pytest.raises(Unavailable):
        await joined(Deadlines(failing, settings()).get("a/blob"))
    assert failing.asked == ["get"] * 4


async def test_a_body_that_trickles_over_ever_new_connections_ends_too(tmp_path: Path) -> None:
    _, failing = await store(tmp_path, cuts=100, cut_bytes=10)
    with pytest.raises(Unavailable):
        await joined(Deadlines(failing, settings()).get("a/blob", Span(0, 3_000_000)))
    assert [one for one in failing.asked if one.startswith("get")] == [
        f"get {at}-3000000" for at in (0, 10, 20, 30)
    ]


async def test_an_object_that_became_shorter_is_never_joined(tmp_path: Path) -> None:
    files, failing = await store(tmp_path, cuts=1, cut_bytes=2_000_000)
    body = Deadlines(failing, settings()).get("a/blob")
    with pytest.raises(Corrupt):
        async for _ in body:
            await files.put("a/blob", Bytes(b"short"))


async def test_a_store_that_hangs_does_not_hang_us(tmp_path: Path) -> None:
    _, failing = await store(tmp_path, hangs=True)
    patient = Deadlines(failing, settings(timeout_s=0.02))
    calls = (
        patient.stat("a/blob"), patient.put("b", Bytes(b"b")), patient.delete("b"),
        patient.list("", "", 1), patient.put_if("b", b"b", None), joined(patient.get("a/blob")),
    )  # fmt: skip
    async with asyncio.timeout(20):
        for call in calls:
            with pytest.raises(Unavailable):
                await call


@dataclass
class Reluctant:
    """A store that takes ``takes`` chunks of what is put, each after ``pause_s``, and needs ``end_s``
    more when it has all.
    """

    takes: int = 1000
    pause_s: float = 0.0
    end_s: float = 0.0
    asked: int = 0
    held: list[bytes] = field(default_factory=list[bytes])

    async def put(self, key: str, content: Content) -> None:
        del key
        self.asked += 1
        taken: list[bytes] = []
        async with aclosing(content.chunks()) as chunks:
            while len(taken) < self.takes and (chunk := await anext(chunks, None)) is not None:
                await asyncio.sleep(self.pause_s)
                taken.append(chunk)
            if len(taken) == self.takes:
                await asyncio.Event().wait()
        await asyncio.sleep(self.end_s)
        self.held.append(b"".join(taken))


@dataclass
class Letters:
    """A content of so many chunks of one byte, each after a pause."""

    size: int
    pause_s: float = 0.0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for _ in range(self.size):
            await asyncio.sleep(self.pause_s)
            yield b"x"


async def test_a_long_put_may_take_as_long_as_bytes_are_taken() -> None:
    slow = Reluctant(pause_s=0.1)
    await Deadlines(slow, settings(timeout_s=0.8)).put("b", Letters(16))  # type: ignore[arg-type]
    assert slow.asked == 1
    assert slow.held == [b"x" * 16]


async def test_a_put_whose_content_is_slow_is_not_the_stores_fault() -> None:
    quick = Reluctant()
    await Deadlines(quick, settings(timeout_s=0.4)).put("b", Letters(2, pause_s=1.0))  # type: ignore[arg-type]
    assert quick.asked == 1


async def test_a_put_of_which_nothing_more_is_taken_ends() -> None:
    stuck = Reluctant(takes=3)
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable, match="does not answer"):
            await Deadlines(stuck, settings(timeout_s=0.05)).put("b", Letters(9))  # type: ignore[arg-type]
    assert stuck.asked == 4
    assert stuck.held == []


async def test_the_end_of_a_large_put_may_take_longer_but_not_for_ever() -> None:
    large, small = Bytes(bytes(4 * deadlines.LAST_WORDS_BYTES)), Bytes(b"small")
    late = Reluctant(end_s=1.0)
    patient = Deadlines(late, settings(timeout_s=0.5, attempts_max=1))  # type: ignore[arg-type]
    await patient.put("large", large)
    with pytest.raises(Unavailable, match="does not answer"):
        await patient.put("small", small)
    late.end_s = 60.0
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable, match="does not answer"):
            await patient.put("large", large)
    assert late.asked == 3


async def test_a_content_that_can_not_be_read_is_not_the_stores_fault(tmp_path: Path) -> None:
    _, failing = await store(tmp_path)
    patient = Deadlines(failing, settings())
    for _ in range(circuit.FAILURES_MAX + 1):
        with pytest.raises(Unavailable, match="our disk"):
            await patient.put("a/blob", Bytes(b"new", failure=Unavailable("our disk")))
    assert failing.asked == ["put"] * (circuit.FAILURES_MAX + 1)
    assert await joined(patient.get("a/blob")) == BLOB


async def test_put_if_whose_answer_was_lost_is_known_to_be_ours_by_reading(tmp_path: Path) -> None:
    files, failing = await store(tmp_path, after=1)
    patient = Deadlines(failing, settings())
    version = await patient.put_if("tag", b"ours", None)
    assert (await files.stat("tag")).version == version
    assert failing.asked.count("put_if") == 1
    failing.before = 1
    with pytest.raises(Unavailable):
        await patient.put_if("tag", b"next", version)
    assert await joined(files.get("tag")) == b"ours"
    with pytest.raises(Changed):
        await patient.put_if("tag", b"next", None)


@dataclass
class OtherLength:
    """A store that ends a body that much later, or, if it is long enough, earlier."""

    files: Files
    by_bytes: int

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        assert span is not None
        more = self.by_bytes if span.length + self.by_bytes > 0 else 0
        async with aclosing(self.files.get(key, Span(span.start, span.length + more))) as chunks:
            async for chunk in chunks:
                yield chunk


async def test_a_body_that_ends_early_goes_on(tmp_path: Path) -> None:
    files, _ = await store(tmp_path)
    patient = Deadlines(OtherLength(files, -1_000_000), settings())  # type: ignore[arg-type]
    assert await joined(patient.get("a/blob", Span(5, 3_000_000))) == BLOB[5:3_000_005]


async def test_a_body_that_ends_late_is_none(tmp_path: Path) -> None:
    files, _ = await store(tmp_path)
    patient = Deadlines(OtherLength(files, 1), settings())  # type: ignore[arg-type]
    with pytest.raises(Corrupt):
        await joined(patient.get("a/blob", Span(5, 100)))


@dataclass
class Slow:
    """A store of two bodies: each begins when it is let, and fails if ``bad`` names it."""

    files: Files
    bad: tuple[int, ...] = ()
    asked: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event(), asyncio.Event()])
    begin: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event(), asyncio.Event()])
    closed: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event(), asyncio.Event()])

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        number = sum(one.is_set() for one in self.asked)
        self.asked[number].set()
        try:
            await self.begin[number].wait()
            if number in self.bad:
                raise Unavailable("bad")
            async for chunk in self.files.get(key, span):
                yield chunk
        finally:
            self.closed[number].set()


@pytest.mark.parametrize("winner", [0, 1])
async def test_of_two_reads_the_quicker_one_counts_and_the_other_ends(
    tmp_path: Path, winner: int
) -> None:
    files, _ = await store(tmp_path)
    slow = Slow(files)
    patient = Deadlines(slow, settings(timeout_s=60.0, hedge_s=0.01))  # type: ignore[arg-type]
    reading = asyncio.create_task(joined(patient.get("a/blob")))
    async with asyncio.timeout(10):
        await slow.asked[1].wait()
        slow.begin[winner].set()
        assert await reading == BLOB
    assert slow.closed[0].is_set()
    assert slow.closed[1].is_set()


async def test_a_read_that_fails_does_not_decide_for_the_other(tmp_path: Path) -> None:
    files, _ = await store(tmp_path)
    slow = Slow(files, bad=(1,))
    patient = Deadlines(slow, settings(hedge_s=0.01))  # type: ignore[arg-type]
    reading = asyncio.create_task(joined(patient.get("a/blob")))
    slow.begin[1].set()
    async with asyncio.timeout(10):
        await slow.closed[1].wait()
        assert not reading.done()
        slow.begin[0].set()
        assert await reading == BLOB


async def test_if_both_reads_fail_the_next_attempt_counts(tmp_path: Path) -> None:
    _, failing = await store(tmp_path, cuts=2)
    assert await joined(Deadlines(failing, settings(hedge_s=0.000001)).get("a/blob")) == BLOB
    assert failing.cuts == 0


async def test_a_store_that_fails_is_left_alone_and_seen_again(tmp_path: Path) -> None:
    _, failing = await store(tmp_path, before=10_000)
    patient = Deadlines(failing, settings())
    for _ in range(circuit.FAILURES_MAX):
        with pytest.raises(Unavailable, match="told to fail"):
            await patient.stat("a/blob")
    failing.before, failing.asked = 0, []
    with pytest.raises(Unavailable, match="left alone"):
        await patient.stat("a/blob")
    assert failing.asked == []
    async with asyncio.timeout(10):
        while not failing.asked:
            try:
                await patient.stat("a/blob")
            except Unavailable:
                await asyncio.sleep(0.01)
    assert (await patient.stat("a/blob")).size == len(BLOB)


async def test_a_store_that_asks_to_be_left_alone_is(tmp_path: Path) -> None:
    def busy() -> Fault:
        return Unavailable("slow down", rests_s=60.0)

    _, failing = await store(tmp_path, before=1, fault=busy)
    patient = Deadlines(failing, settings())
    for _ in range(3):
        with pytest.raises(Unavailable):
            await patient.stat("a/blob")
    assert failing.asked == ["stat"]


async def test_a_store_that_asks_for_a_short_rest_is_waited_for(tmp_path: Path) -> None:
    def busy() -> Fault:
        return Unavailable("slow down", rests_s=0.1)

    _, failing = await store(tmp_path, before=1, fault=busy)
    started_s = time.monotonic()
    assert (await Deadlines(failing, settings()).stat("a/blob")).size == len(BLOB)
    assert time.monotonic() - started_s >= 0.1
    assert failing.asked == ["stat", "stat"]
