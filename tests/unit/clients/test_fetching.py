import pytest

from octopull.clients.failover import first
from octopull.clients.fetching import patient
from octopull.kernel.errors import Pending, Unavailable, UpstreamFailed
from octopull.placement.health import Health


async def test_waiting_goes_on_while_there_is_progress() -> None:
    told = iter((1, 2, 3))

    async def call() -> str:
        for progress in told:
            raise Pending("on its way", progress=progress)
        return "there"

    assert await patient(call, silence_s=0.0) == "there"


async def test_waiting_ends_when_progress_does() -> None:
    async def call() -> str:
        raise Pending("on its way", progress=7)

    with pytest.raises(Pending):
        await patient(call, silence_s=0.05)


@pytest.mark.parametrize("kind", [Pending, UpstreamFailed])
async def test_what_an_upstream_does_is_no_fault_of_the_host_that_tells(
    kind: type[Unavailable],
) -> None:
    asked: list[str] = []

    async def call(host: str) -> str:
        asked.append(host)
        raise kind("told")

    health = Health()
    for _ in range(2):
        with pytest.raises(kind):
            await first(["a", "b"], health, call)
    assert asked == ["a", "a"]
