"""Listening sockets, for servers that accept by themselves."""

import asyncio
import functools
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from octopull.kernel.errors import Unavailable
from octopull.observability import logs
from octopull.runtime.tasks import Tasks

log = logs.get("runtime")
BACKLOG = 512


def listening(host: str, port: int) -> socket.socket:
    """A non-blocking socket to accept from; port 0 takes any free one.

    Raises:
        Unavailable: the address is taken or not ours.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}:{port}: {error}") from error
    sock.setblocking(False)
    return sock


async def close(server: asyncio.Server) -> None:
    """Close ``server`` once its protocols have begun with every connection that it accepted.

    asyncio loses one that it accepted a moment before, which nobody serves or closes then
    (python/cpython#109564); with one that has not begun aiohttp waits for a request.
    """
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener)
    # Accepted in this turn of the loop, it is handed over in the next, and begins after that.
    for _ in range(2):
        await asyncio.sleep(0)
    server.close()


class Door:
    """Accepts connections for as long as ``tasks`` live, and has each of them greeted.

    Strangers beyond ``strangers_max`` at once are turned away before a byte is read.
    """

    def __init__(
        self, listener: socket.socket, tasks: Tasks,
        greet: Callable[[socket.socket], Coroutine[Any, Any, None]], strangers_max: int,
    ) -> None:  # fmt: skip
        self._listener = listener
        self._tasks = tasks
        self._greet = greet
        self._strangers_max = strangers_max
        self._strangers = 0
        tasks.start(self._accept(), "accept")

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                # Out of file descriptors, most likely: the port must outlive it.
                log.warning("accept.failed", reason=str(error))
                await asyncio.sleep(0.1)
                continue
            if self._strangers >= self._strangers_max:
                sock.close()
            else:
                self._strangers += 1
                greeting = self._tasks.start(self._greet(sock), "greet")
                greeting.add_done_callback(functools.partial(self._greeted, sock))
            # Accepting from a backlog does not wait: without this a burst would hold the loop.
            await asyncio.sleep(0)

    def _greeted(self, sock: socket.socket, greeting: "asyncio.Task[None]") -> None:
        self._strangers -= 1
        if greeting.cancelled():
            # Perhaps before it began, so that nobody else knows of the socket.
            sock.close()
