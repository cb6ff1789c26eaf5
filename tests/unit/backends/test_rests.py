"""When a store that fails is asked again."""

import asyncio
import time

from octopull.backends.rests import FAILURES_MAX, Rests

REST_S, REST_S_MAX = 0.05, 0.2


async def fail(rests: Rests, times: int = FAILURES_MAX) -> None:
    for _ in range(times):
        async with rests.turn():
            rests.failed("it is down")


async def test_a_failure_or_two_are_a_blobs_affair() -> None:
    rests = Rests(REST_S, REST_S_MAX)
    await fail(rests, FAILURES_MAX - 1)
    assert rests.failing == ""
    rests.worked()
    await fail(rests, FAILURES_MAX - 1)
    assert rests.failing == ""
    await fail(rests, 1)
    assert rests.failing == "it is down"


async def test_rests_grow_to_the_longest() -> None:
    rests = Rests(REST_S, REST_S_MAX)
    await fail(rests)
    began_s = time.monotonic()
    await fail(rests, 5)
    # Each by chance as short as three quarters: 0.05, 0.1, and three times the longest.
    assert time.monotonic() - began_s > 0.75 * (0.05 + 0.1 + 3 * 0.2)


async def test_one_asks_for_all_and_all_go_on_when_it_works() -> None:
    rests = Rests(REST_S, REST_S_MAX)
    await fail(rests)
    inside, inside_max, up = 0, 0, False
    done = asyncio.Event()

    async def ask() -> None:
        nonlocal inside, inside_max
        while not done.is_set():
            async with rests.turn():
                inside += 1
                if not up:
                    inside_max = max(inside, inside_max)
                await asyncio.sleep(0)
                inside -= 1
                if up:
                    rests.worked()
                    return
                rests.failed("it is down")

    async def mend() -> None:
        nonlocal up
        await asyncio.sleep(4 * REST_S_MAX)
        up = True

    async with asyncio.timeout(10):
        await asyncio.gather(*(ask() for _ in range(20)), mend())
    assert inside_max == 1


async def test_a_probe_that_ends_without_a_word_leaves_its_place_to_another() -> None:
    rests = Rests(REST_S, REST_S_MAX)
    await fail(rests)
    async with asyncio.timeout(10):
        for _ in range(3):
            async with rests.turn():
                pass
    assert rests.failing


async def test_a_store_that_asks_to_be_left_alone_is() -> None:
    rests = Rests(REST_S, REST_S_MAX)
    rests.failed("slow down", rests_s=0.5)
    began_s = time.monotonic()
    async with rests.turn():
        assert time.monotonic() - began_s > 0.45
