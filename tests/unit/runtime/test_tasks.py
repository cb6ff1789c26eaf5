"""Work shared by a few tasks: everything once, so many at a time, and the first fault ends it."""

import asyncio

import pytest

from octopull.kernel.errors import NotFound
from octopull.runtime.tasks import each


@pytest.mark.parametrize("at_once", [1, 3])
async def test_each_item_is_worked_on_once_and_no_more_than_so_many_at_a_time(at_once: int) -> None:
    done: list[int] = []
    working: set[int] = set()
    most = 0

    async def work(item: int) -> None:
        nonlocal most
        working.add(item)
        most = max(most, len(working))
        await asyncio.sleep(0)
        working.remove(item)
        done.append(item)

    await each(range(10), work, at_once)
    assert sorted(done) == list(range(10))
    assert most == at_once


async def test_a_fault_ends_the_work_of_all_and_is_told_as_it_is() -> None:
    begun: list[int] = []

    async def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise NotFound("the second")
        await asyncio.Event().wait()

    with pytest.raises(NotFound, match="the second"):
        await each(range(10), work, 2)
    assert begun == [0, 1]
