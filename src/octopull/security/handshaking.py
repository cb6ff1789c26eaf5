"""The handshake of TLS on a socket that does not block."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any


async def handshake(sock: ssl.SSLSocket) -> None:
    """Greet the other side over a socket that does not block; the caller sets the deadline.

    Raises:
        OSError: the connection broke; ssl.SSLError: a side does not believe the other.

    """
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await readable(sock)
        except ssl.SSLWantWriteError:
            await writable(sock)
        else:
            return


async def readable(sock: ssl.SSLSocket) -> None:
    """Until bytes have come, or the end."""
    loop = asyncio.get_running_loop()
    await _ready(sock, loop.add_reader, loop.remove_reader)


async def writable(sock: ssl.SSLSocket) -> None:
    """Until there is room for bytes."""
    loop = asyncio.get_running_loop()
    await _ready(sock, loop.add_writer, loop.remove_writer)


async def _ready(
    sock: ssl.SSLSocket, watch: Callable[..., Any], forget: Callable[[int], Any]
) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    fd = sock.fileno()
    watch(fd, tell)
    try:
        await ready
    finally:
        forget(fd)
