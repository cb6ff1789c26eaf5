"""Listening sockets, for servers that accept by themselves."""

import asyncio
import functools
import ipaddress
import socket
from collections import Counter
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


def holder_of(address: str) -> str:
    """Who has ``address``, for counting: of IPv6 the network of 64 bits, which one host may fill."""
    if ":" not in address:
        return address
    found = ipaddress.IPv6Address(address)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


class Door:
    """Accepts connections for as long as ``tasks`` live, and has each of them greeted.

    At most ``strangers_max`` at once. When one more comes, whoever has most of them at the door
    loses the oldest: so nobody can shut others out, and a burst of one host's is no harm.
    """

    def __init__(
        self, listener: socket.socket, tasks: Tasks,
        greet: Callable[[socket.socket], Coroutine[Any, Any, None]], strangers_max: int,
    ) -> None:  # fmt: skip
        self._listener = listener
        self._tasks = tasks
        self._greet = greet
        self._strangers_max = strangers_max
        self._strangers = dict[asyncio.Task[None], str]()
        """Those who are being greeted, oldest first, and whose they are."""
        tasks.start(self._accept(), "accept")

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(self._listener)
            except OSError as error:
                # Out of file descriptors, most likely: the port must outlive it.
                log.warning("accept.failed", reason=str(error))
                await asyncio.sleep(0.1)
                continue
            if len(self._strangers) >= self._strangers_max:
                self._make_room()
            greeting = self._tasks.start(self._greet(sock), "greet")
            self._strangers[greeting] = holder_of(str(address[0]))
            greeting.add_done_callback(functools.partial(self._greeted, sock))
            # Accepting from a backlog does not wait: without this a burst would hold the loop.
            await asyncio.sleep(0)

    def _make_room(self) -> None:
        # Of holders with equally many, the first is the one that has waited longest.
        ((most, _),) = Counter(self._strangers.values()).most_common(1)
        oldest = next(one for one, holder in self._strangers.items() if holder == most)
        del self._strangers[oldest]
        oldest.cancel()

    def _greeted(self, sock: socket.socket, greeting: "asyncio.Task[None]") -> None:
        self._strangers.pop(greeting, None)
        if greeting.cancelled():
            # Perhaps before it began, so that nobody else knows of the socket.
            sock.close()
