"""Connections that come while a server ends."""

import asyncio
import gc
import socket
from collections.abc import Iterator

import pytest

from octopull.config.services import Listen
from octopull.http.server import application
from octopull.http.serving import serve

END_S = 5.0
"""Long for a server without a request, short beside the time that requests are given."""


@pytest.fixture
def _uncollected() -> Iterator[None]:
    """What is lost stays open, as it may for long where little garbage is made."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.usefixtures("_uncollected")
async def test_a_connection_that_comes_while_a_server_ends_is_closed(turns: int) -> None:
    """``turns``: how many the event loop has from the end's beginning to the connection."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:

        async def come(host: str, port: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            client.connect((host, port))
            client.setblocking(False)

        async with asyncio.timeout(END_S):
            async with serve(application("test"), "test", Listen()) as server:
                coming = asyncio.create_task(come(server.host, server.port))
            try:
                await coming
                assert await loop.sock_recv(client, 1) == b""
            except ConnectionError:
                pass  # It came too late, or was in the backlog.
