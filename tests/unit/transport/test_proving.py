import asyncio
import threading

from octopull.kernel.errors import Corrupt, Fault, Unavailable
from octopull.transport.proving import Prover


async def outcomes(prover: Prover, count: int) -> list[bool | Fault]:
    told: list[bool | Fault] = []
    everything = asyncio.Event()

    def done(outcome: bool | Fault) -> None:
        told.append(outcome)
        if len(told) == count:
            everything.set()

    def work(number: int) -> bool:
        if number % 3 == 1:
            raise Corrupt("so it is")
        if number % 3 == 2:
            raise OSError("no space left")
        return True

    for number in range(count):
        prover.submit(lambda number=number: work(number), done)  # type: ignore[misc]
    async with asyncio.timeout(20):
        await everything.wait()
    return told


async def test_every_outcome_is_told_once_on_the_loop_whatever_the_work_raises() -> None:
    prover = Prover(3)
    told = await outcomes(prover, 600)
    await prover.close()
    assert sum(one is True for one in told) == 200
    assert sum(isinstance(one, Corrupt) for one in told) == 200
    assert sum(isinstance(one, Unavailable) for one in told) == 200


async def test_closing_waits_for_what_is_under_way_and_tells_of_it() -> None:
    prover, gate, told = Prover(1), threading.Event(), list[bool | Fault]()
    prover.submit(gate.wait, told.append)
    closing = asyncio.create_task(prover.close())
    await asyncio.sleep(0)
    assert not closing.done()
    gate.set()
    async with asyncio.timeout(20):
        await closing
    assert told == [True]


async def test_work_after_the_end_is_refused() -> None:
    prover, told = Prover(1), list[bool | Fault]()
    await prover.close()
    prover.submit(lambda: True, told.append)
    await asyncio.sleep(0)
    assert isinstance(told[0], Unavailable)
