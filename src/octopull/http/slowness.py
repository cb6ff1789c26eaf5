"""Clients that hold a connection and send next to nothing: they are cut off.

Of itself aiohttp waits for ever for the rest of a request's head, and for a body's next byte.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from octopull.kernel.errors import TooSlow
from octopull.observability import logs

log = logs.get("http")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long clients may take."""

    window_s: float = 30.0
    """In each window of a body ..."""
    window_bytes_min: int = 4096
    """... so many bytes must come, or its end."""
    idle_s: float = 120.0
    """A connection may be without a whole request's head for so long."""


class SlowClients:
    """Watches the connections of one server; ``sweep`` runs beside it."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        # Both by connection; ``sweep`` forgets those that are closed.
        self._idle_since: dict[asyncio.BaseProtocol, float] = {}
        self._busy: dict[asyncio.BaseProtocol, int] = {}

    @contextmanager
    def watching(self, request: web.Request) -> Iterator[None]:
        """While the block handles ``request``: its connection is not idle, its body must come.

        Whoever reads the body of a client that stopped sending gets a ``TooSlow``.
        """
        protocol, loop = request.protocol, asyncio.get_running_loop()
        self._busy[protocol] = self._busy.get(protocol, 0) + 1
        timer: asyncio.TimerHandle | None = None

        def look(seen: int) -> None:
            nonlocal timer
            body, transport = request.content, request.transport
            if body.is_eof() or transport is None:
                return
            # A handler that does not read lets the transport pause: that is no client's fault.
            waits = isinstance(transport, asyncio.ReadTransport) and transport.is_reading()
            if waits and body.total_bytes - seen < self._patience.window_bytes_min:
                body.set_exception(TooSlow("the body comes too slowly"))
                return
            timer = loop.call_later(self._patience.window_s, look, body.total_bytes)

        if request.body_exists and not request.content.is_eof():
            timer = loop.call_later(self._patience.window_s, look, 0)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._busy[protocol] -= 1
            self._idle_since[protocol] = loop.time()

    def stopped(self, request: web.Request) -> bool:
        """Whether the body of ``request`` came too slowly, and is not to be read on."""
        return isinstance(request.content.exception(), TooSlow)

    async def sweep(self, server: web.Server) -> None:
        """Close connections that were idle for too long, until cancelled."""
        while True:
            now, connections = asyncio.get_running_loop().time(), server.connections
            for gone in self._idle_since.keys() - connections:
                del self._idle_since[gone]
                self._busy.pop(gone, None)
            for protocol in connections:
                if self._busy.get(protocol):
                    continue
                since = self._idle_since.setdefault(protocol, now)
                if now - since > self._patience.idle_s:
                    log.info("connection.idle", seconds=round(now - since))
                    protocol.force_close()
            await asyncio.sleep(min(self._patience.idle_s / 4, self._patience.window_s))
