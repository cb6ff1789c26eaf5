"""Requests that no HTTP client would send."""

import asyncio
import contextlib


async def exchange(address: str, request: bytes, within_s: float = 10.0) -> bytes:
    """Send ``request`` as it is; all that comes back until the server closes.

    The request should end the connection itself (``Connection: close``, or nonsense).
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(within_s):
                writer.write(request)
                await writer.drain()
                return await reader.read()
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def first_line(address: str, request: bytes, within_s: float = 10.0) -> bytes:
    """Send ``request``, whose body may be unfinished; the answer's first line."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(within_s):
            writer.write(request)
            return await reader.readline()
    finally:
        writer.transport.abort()


async def break_off(address: str, request: bytes) -> None:
    """Send ``request`` and go away without waiting for an answer."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    writer.transport.abort()


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 if the connection was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
