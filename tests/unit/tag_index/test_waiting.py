"""Those who ask while an answer is on its way share the next one."""

import asyncio

import pytest

from octopull.kernel.errors import Unavailable
from octopull.services.tag_index.waiting import NOBODY, Rounds


async def test_who_comes_during_a_round_waits_for_the_next() -> None:
    begun: list[int] = []
    rounds = Rounds(begun.append)
    first, second, third = rounds.join(), rounds.join(), rounds.join()
    assert begun == [1]
    rounds.answered(1)
    assert first.done()
    assert not second.done()
    assert second is third
    assert begun == [1, 2]
    rounds.answered(2)
    assert second.done()
    assert begun == [1, 2]


async def test_an_answer_to_a_round_that_failed_is_none() -> None:
    begun: list[int] = []
    rounds = Rounds(begun.append)
    failed = [rounds.join(), rounds.join()]
    rounds.fail("another leads by now")
    for one in failed:
        with pytest.raises(Unavailable, match="another leads by now") as raised:
            await one
        assert raised.value.details["public"] == NOBODY
    asked = rounds.join()
    rounds.answered(1)
    assert not asked.done()
    rounds.answered(2)
    await asyncio.wait_for(asked, 1)
