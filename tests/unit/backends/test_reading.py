"""Large objects by several requests at once: in order, bounded, and ended with their reader."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.backends import reading
from octopull.backends.contract import Span
from octopull.backends.files import Files
from octopull.backends.reading import read_ahead
from octopull.kernel.errors import Corrupt, Unavailable
from support.contents import Bytes, joined
from support.failing import Failing
from support.waiting import until

BLOB = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RANGE_BYTES", 10_000)


@dataclass
class Held:
    """One object, whose reads begin when they are let, and which counts them."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    many: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    open: int = 0
    most: int = 0
    awaited: int = 0

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        del key
        assert span is not None
        self.asked += 1
        self.open += 1
        self.most = max(self.most, self.open)
        if self.open == self.awaited:
            self.many.set()
        try:
            await self.go.wait()
            for at in range(span.start, span.start + span.length, 3000):
                yield BLOB[at : min(at + 3000, span.start + span.length)]
        finally:
            self.open -= 1


@given(
    st.integers(0, len(BLOB) - 1).flatmap(
        lambda at: st.tuples(st.just(at), st.integers(1, len(BLOB) - at))
    ),
    st.integers(1, 6),
)
def test_any_span_by_any_number_of_streams_is_those_bytes(
    place: tuple[int, int], streams: int
) -> None:
    start, length = place

    async def read() -> bytes:
        held = Held()
        held.go.set()
        return await joined(read_ahead(held, "blob", Span(start, length), streams))  # type: ignore[arg-type]

    assert asyncio.run(read()) == BLOB[start : start + length]


async def test_as_many_requests_as_streams_are_open_and_no_more() -> None:
    held = Held(awaited=4)
    body = asyncio.create_task(
        joined(read_ahead(held, "blob", Span(0, len(BLOB)), 4))  # type: ignore[arg-type]
    )
    async with asyncio.timeout(10):
        await held.many.wait()
        held.go.set()
        assert await body == BLOB
    assert held.most == 4
    assert held.asked == -(-len(BLOB) // 10_000)


async def test_a_reader_that_stays_away_lets_no_more_be_fetched_than_the_streams_hold() -> None:
    held = Held()
    held.go.set()
    async with aclosing(read_ahead(held, "blob", Span(0, len(BLOB)), 3)) as chunks:  # type: ignore[arg-type]
        assert await anext(chunks) == BLOB[:3000]

        async def idle() -> bool:
            return held.open == 0

        await until(idle, 10)
        assert held.asked == 3


async def test_a_reader_that_stops_ends_all_requests() -> None:
    held = Held(awaited=4)
    body = asyncio.create_task(
        joined(read_ahead(held, "blob", Span(0, len(BLOB)), 4))  # type: ignore[arg-type]
    )
    async with asyncio.timeout(10):
        await held.many.wait()
    body.cancel()
    await asyncio.wait([body], timeout=5)
    assert body.cancelled()
    assert held.open == 0


@pytest.mark.parametrize("length", [9_999, 10_001])
async def test_a_range_of_another_length_is_corrupt(length: int) -> None:
    class Odd:
        async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
            del key, span
            yield bytes(length)

    with pytest.raises(Corrupt):
        await joined(read_ahead(Odd(), "blob", Span(0, 30_000), 2))  # type: ignore[arg-type]


async def test_bytes_before_a_failure_are_given_and_then_the_failure(tmp_path: Path) -> None:
    files = Files(tmp_path)
    await files.put("blob", Bytes(BLOB))
    failing = Failing(files, cuts=1, cut_bytes=4000)
    got = bytearray()
    with pytest.raises(Unavailable, match="told to fail"):
        async with aclosing(read_ahead(failing, "blob", Span(0, len(BLOB)), 4)) as chunks:
            async for chunk in chunks:
                got += chunk
    assert len(got) < len(BLOB)
    assert BLOB.startswith(got)
