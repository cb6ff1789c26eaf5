"""A burst of strangers at the door."""

import asyncio
import socket

import pytest

from octopull.runtime.sockets import Door, holder_of, listening
from octopull.runtime.tasks import Tasks


async def test_of_a_burst_no_more_are_let_in_than_may_be_greeted_at_once() -> None:
    inside, most, leave = 0, 0, asyncio.Event()

    async def greet(sock: socket.socket) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            await leave.wait()
        finally:
            inside -= 1
            sock.close()

    listener = listening("127.0.0.1", 0)
    # All are in the backlog before the door opens.
    strangers = [socket.create_connection(listener.getsockname()) for _ in range(20)]
    loop = asyncio.get_running_loop()
    async with Tasks() as tasks, asyncio.timeout(10):
        Door(listener, tasks, greet, 3)
        turned_away = 0
        for stranger in strangers:
            stranger.setblocking(False)
        waits = [asyncio.ensure_future(loop.sock_recv(one, 1)) for one in strangers]
        while turned_away < 17:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            turned_away += len(done)
            waits = [wait for wait in waits if wait not in done]
            if inside > 3:
                break
        assert (most, turned_away) == (3, 17)
        leave.set()
        await asyncio.wait(waits)
    listener.close()
    for stranger in strangers:
        stranger.close()


async def test_strangers_who_were_not_greeted_yet_are_hung_up_on_at_the_end() -> None:
    begun = asyncio.Event()

    async def greet(sock: socket.socket) -> None:
        begun.set()
        await asyncio.get_running_loop().sock_recv(sock, 1)

    listener = listening("127.0.0.1", 0)
    with socket.create_connection(listener.getsockname()) as stranger:
        stranger.setblocking(False)
        async with Tasks() as tasks:
            Door(listener, tasks, greet, 3)
            await begun.wait()
        listener.close()
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(stranger, 1) == b""


async def test_who_has_most_strangers_at_the_door_makes_room_and_nobody_else() -> None:
    here = dict[str, int]()
    changed = asyncio.Event()

    async def greet(sock: socket.socket) -> None:
        name = "{}:{}".format(*sock.getpeername())
        here[name] = len(here)
        changed.set()
        try:
            await asyncio.Event().wait()
        finally:
            del here[name]
            sock.close()

    async def come(address: str) -> str:
        stranger = socket.create_connection(listener.getsockname(), source_address=(address, 0))
        strangers.append(stranger)
        name = "{}:{}".format(*stranger.getsockname())
        while name not in here:
            changed.clear()
            await changed.wait()
        return name

    listener, strangers = listening("127.0.0.1", 0), list[socket.socket]()
    async with Tasks() as tasks, asyncio.timeout(10):
        Door(listener, tasks, greet, 4)
        first = await come("127.0.0.2")
        crowd = [await come("127.0.0.3") for _ in range(3)]
        # The table is full.
        assert set(here) == {first, *crowd}
        other = await come("127.0.0.4")
        assert set(here) == {first, *crowd[1:], other}
        again = await come("127.0.0.3")
        assert set(here) == {first, crowd[2], again, other}
    listener.close()
    for stranger in strangers:
        stranger.close()


@pytest.mark.parametrize(("address", "holder"), [
    ("10.0.0.5", "10.0.0.5"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"),
    ("::ffff:10.0.0.5", "10.0.0.5"),
])  # fmt: skip
def test_who_has_an_address(address: str, holder: str) -> None:
    assert holder_of(address) == holder
