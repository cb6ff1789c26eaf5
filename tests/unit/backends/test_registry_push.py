"""A content that is pushed, read from any offset on."""

from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.backends.push_source import Source
from octopull.kernel.errors import Corrupt
from support.cluster import content
from support.contents import Bytes, joined

BLOB = content(2_500_000, 4)
SPANS = st.tuples(st.integers(0, len(BLOB)), st.integers(0, len(BLOB))).map(
    lambda ends: (min(ends), max(ends) - min(ends))
)


@given(st.lists(st.tuples(SPANS, st.booleans()), max_size=6))
async def test_any_part_is_read_after_any_other_also_after_one_that_was_given_up(
    parts: list[tuple[tuple[int, int], bool]],
) -> None:
    async with aclosing(Source(Bytes(BLOB))) as source:
        for (start, length), whole in parts:
            async with aclosing(source.read(start, length)) as chunks:
                if whole:
                    assert await joined(chunks) == BLOB[start : start + length]
                elif length:
                    assert BLOB[start : start + length].startswith(await anext(chunks))
        assert source.fault is None


@pytest.mark.parametrize(
    "wrong",
    [
        Bytes(BLOB, failure=Corrupt("the disk")),
        Bytes(BLOB[:-1], told=len(BLOB)),
        Bytes(BLOB + b"x", told=len(BLOB)),
        Bytes(content(1 << 20, 4) + b"x", told=1 << 20),
    ],
)
async def test_the_last_bytes_are_given_only_if_the_content_ends_well_there(wrong: Bytes) -> None:
    async with aclosing(Source(wrong)) as source:
        got = bytearray()
        with pytest.raises(Corrupt):
            async for chunk in source.read(0, wrong.size):
                got += chunk
        assert len(got) < wrong.size
        assert isinstance(source.fault, Corrupt)
