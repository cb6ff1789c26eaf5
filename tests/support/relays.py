"""A server on loopback whose connections are relayed somewhere, and none of which outlives it."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from octopull.runtime.sockets import close

Relay = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Relays:
    """Runs ``relay`` for each connection, which is over when that is; open it with ``async with``."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cancel(self) -> None:
        """End the connections that there are."""
        for running in self._running:
            running.cancel()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        assert self._server is not None
        await close(self._server)
        self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def run() -> None:
            await self._relay(reader, writer)

        running = asyncio.get_running_loop().create_task(run())
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        # Even if it is cancelled before it has begun.
        running.add_done_callback(lambda _: writer.transport.abort())
