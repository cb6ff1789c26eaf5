"""Clients that trickle or say nothing lose their connection; slow handlers and large bodies don't."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from octopull.config.services import Listen
from octopull.http.server import application
from octopull.http.serving import serve
from octopull.http.slowness import Patience

PATIENCE = Patience(window_s=0.1, window_bytes_min=100, idle_s=0.4)
WAIT_S = 20.0


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with counting(PATIENCE) as port:
        yield port


@asynccontextmanager
async def counting(patience: Patience) -> AsyncIterator[int]:
    """A server that counts bodies, and one path that reads its body late."""
    app = application("test", patience=patience)

    async def count(request: web.Request) -> web.Response:
        if request.path == "/late":
            # Longer than a window; the client meanwhile fills all buffers on the way.
            await asyncio.sleep(3 * PATIENCE.window_s)
        seen = 0
        async for chunk in request.content.iter_any():
            seen += len(chunk)
        return web.Response(text=str(seen))

    app.router.add_put("/{any}", count)
    async with serve(app, "test", Listen()) as listening:
        yield listening.port


async def say(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """All that the server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(WAIT_S):
            for part in parts:
                try:
                    writer.write(part)
                    await writer.drain()
                except ConnectionError:
                    break
                await asyncio.sleep(pause_s)
            try:
                return await reader.read()
            except ConnectionError:
                return b""
    finally:
        writer.close()


def head(path: str, length: int) -> bytes:
    return f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode()


async def test_a_body_that_stops_is_refused(port: int) -> None:
    answer = await say(port, head("/a", 1000) + b"x" * 500)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"BLOB_UPLOAD_INVALID" in answer


async def test_a_body_that_trickles_is_refused(port: int) -> None:
    answer = await say(port, head("/a", 1000), *[b"x"] * 1000, pause_s=0.02)
    assert b" 408 " in answer.partition(b"\r\n")[0] or answer == b""


async def test_a_body_that_keeps_coming_is_taken() -> None:
    # Client and server share a loop, which must not hang for a whole window.
    window_s, pause_s = 1.0, 0.1
    parts = [b"x" * 100] * 15
    request = head("/a", 1500).replace(b"Host", b"Connection: close\r\nHost")
    async with counting(Patience(window_s=window_s, window_bytes_min=100)) as port:
        assert (await say(port, request, *parts, pause_s=pause_s)).endswith(b"\r\n\r\n1500")


async def test_a_handler_that_reads_late_costs_the_client_nothing(port: int) -> None:
    size = 16 << 20
    request = head("/late", size).replace(b"Host", b"Connection: close\r\nHost")
    assert (await say(port, request, b"x" * size)).endswith(str(size).encode())


@pytest.mark.parametrize("said", [b"", b"PUT /a HTTP/1.1\r\nHost: h\r\n"])
async def test_a_connection_without_a_request_is_closed(port: int, said: bytes) -> None:
    assert await say(port, said) == b""


async def test_a_connection_is_closed_when_it_was_idle_since_its_last_request(port: int) -> None:
    answer = await say(port, head("/a", 3) + b"xyz")
    assert answer.endswith(b"\r\n\r\n3")
