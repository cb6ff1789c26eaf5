"""A burst of strangers at the door."""

import asyncio
import socket

from octopull.runtime.sockets import Door, listening
from octopull.runtime.tasks import Tasks


async def test_of_a_burst_no_more_are_let_in_than_may_be_greeted_at_once() -> None:
    inside, most, leave = 0, 0, asyncio.Event()

    async def greet(sock: socket.socket) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await leave.wait()
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
