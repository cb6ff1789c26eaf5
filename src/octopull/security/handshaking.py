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
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(sock, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(sock, loop.add_writer, loop.remove_writer)
        else:
            return


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
