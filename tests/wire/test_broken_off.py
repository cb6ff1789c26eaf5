"""A request that is given up does not go on sending."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from octopull.http.client import Http
from octopull.kernel.errors import Fault, Unavailable

LONG_BYTES = 64 * 1024 * 1024
"""More than the kernel keeps for a peer that does not read."""


async def long(wish: Fault | None) -> AsyncIterator[bytes]:
    yield b"head"
    if wish is not None:
        raise wish
    yield bytes(LONG_BYTES)


async def rest(peer: socket.socket) -> int:
    """How many bytes there are until the end."""
    count = 0
    async with asyncio.timeout(20):
        while got := await asyncio.get_running_loop().sock_recv(peer, 1 << 20):
            count += len(got)
    return count


@pytest.mark.parametrize("how", ["the body fails", "its caller goes"])
async def test_the_connection_ends_and_what_it_held_is_dropped(how: str) -> None:
    wish = Unavailable("the disk is gone") if how == "the body fails" else None
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        async def send(http: Http) -> None:
            async with http.exchange("PUT", url, data=long(wish)):
                raise AssertionError("it does not answer")

        async with Http() as http:
            sending = asyncio.create_task(send(http))
            peer, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(server), 10)
            with peer:
                peer.setblocking(False)
                assert await asyncio.get_running_loop().sock_recv(peer, 4) == b"PUT "
                if wish is None:
                    sending.cancel()
                (outcome,) = await asyncio.gather(sending, return_exceptions=True)
                assert outcome is wish or isinstance(outcome, asyncio.CancelledError)
                assert await rest(peer) < LONG_BYTES // 2
