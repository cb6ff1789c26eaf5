"""Hosts by name and by number, and names whose answer does not come."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from octopull.runtime.host_names import LOOKUPS_MAX, THREADS, Found, HostNames

HERE = (socket.AF_INET, ("127.0.0.1", 80))


class Silent:
    """Knows every host by name, once it is told to speak."""

    def __init__(self) -> None:
        self.speak = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Found:
        self.asked.append(host)
        assert self.speak.wait(10)
        return socket.AF_INET, ("127.0.0.1", port)


@pytest.fixture
def silent() -> Iterator[Silent]:
    found = Silent()
    yield found
    found.speak.set()


@pytest.fixture
def names(silent: Silent) -> Iterator[HostNames]:
    found = HostNames(silent)
    yield found
    found.close()


async def test_an_address_needs_no_lookup(names: HostNames, silent: Silent) -> None:
    assert await names.find("10.0.0.5", 80) == (socket.AF_INET, ("10.0.0.5", 80))
    assert await names.find("::1", 80) == (socket.AF_INET6, ("::1", 80))
    assert silent.asked == []


async def test_names_that_nobody_answers_for_leave_the_loops_own_threads_free(
    names: HostNames, silent: Silent
) -> None:
    lookups = [asyncio.ensure_future(names.find(f"slow-{one}", 80)) for one in range(LOOKUPS_MAX)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.to_thread(int)
    with pytest.raises(OSError, match="too many host names"):
        await names.find("one-more", 80)
    silent.speak.set()
    assert await asyncio.gather(*lookups) == [HERE] * LOOKUPS_MAX


async def test_a_lookup_that_was_given_up_is_not_begun(names: HostNames, silent: Silent) -> None:
    lookups = [asyncio.ensure_future(names.find(f"slow-{one}", 80)) for one in range(THREADS + 1)]
    await asyncio.sleep(0)
    lookups[-1].cancel()
    await asyncio.wait(lookups[-1:])
    silent.speak.set()
    await asyncio.gather(*lookups[:-1])
    assert await names.find("another", 80) == HERE
    assert silent.asked[-1] == "another"
    assert f"slow-{THREADS}" not in silent.asked
