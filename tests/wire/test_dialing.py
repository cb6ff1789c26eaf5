"""Peers that are dialled by their names."""

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from octopull.runtime.sockets import listening
from octopull.transport.lines import Lines


async def test_a_peer_is_found_by_name_while_all_the_loops_own_threads_are_busy() -> None:
    loop, freed = asyncio.get_running_loop(), threading.Event()
    here = str(socket.getaddrinfo("localhost", 0)[0][4][0])
    loop.set_default_executor(ThreadPoolExecutor(1))
    busy = loop.run_in_executor(None, freed.wait, 20)
    with (
        contextlib.closing(listening(here, 0)) as listener,
        contextlib.closing(Lines(None)) as lines,
    ):
        try:
            async with asyncio.timeout(5):
                line = await lines.dialed("localhost", listener.getsockname()[1])
        finally:
            freed.set()
            await busy
        line.close()
