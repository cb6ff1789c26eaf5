"""A connection in memory between one who sends anything at all and a server of ours."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from aiohttp.web_protocol import RequestHandler

QUIET_TURNS = 3
"""A server that has had nothing to do for so many turns of the loop waits for its client."""

SPINS, PAUSE_S = 10, 0.0005


class Line(asyncio.Transport):
    """The server's end: keeps what is sent, and knows when the server waits."""

    def __init__(self, client: str, port: int) -> None:
        super().__init__({"peername": (client, 40000), "sockname": ("127.0.0.1", port)})
        self.sent = bytearray()
        self._protocol: asyncio.Protocol | None = None
        self._held: list[bytes] | None = None
        self._closing = False

    def connect(self, protocol: asyncio.Protocol) -> None:
        """Begin; ``protocol`` may give the line to another one."""
        self._protocol = protocol
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """The client sends ``data``."""
        if self._held is not None:
            self._held.append(data)
        elif self._protocol is not None and not self._closing:
            self._protocol.data_received(data)

    async def settle(self, within_s: float) -> None:
        """Returns once the server has closed, or waits for more.

        Raises:
            TimeoutError: it is at something for longer than that.

        """
        await turns(lambda: self._closing, lambda: self._waits, within_s)

    async def break_off(self, within_s: float) -> None:
        """The client vanishes; returns once nobody is at its requests any more.

        Raises:
            TimeoutError: somebody still is.

        """
        self.abort()
        await turns(lambda: False, lambda: not self._busy, within_s)

    @property
    def _busy(self) -> bool:
        return bool(getattr(self._protocol, "_request_in_progress", False))

    @property
    def _waits(self) -> bool:
        handler = self._protocol
        if not isinstance(handler, RequestHandler) or _idle(handler):
            return True
        request = handler._current_request
        if request is None:
            return not handler._request_in_progress  # It reads what is left of a body.
        return getattr(request.content, "_waiter", None) is not None

    # What a protocol calls.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def write(self, data: Any) -> None:
        if not self._closing:
            self.sent += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.get_protocol().connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_reading(self) -> bool:
        return self._held is None

    def pause_reading(self) -> None:
        self._held = self._held or []

    def resume_reading(self) -> None:
        held, self._held = self._held or [], None
        for data in held:
            self.feed(data)


def _idle(handler: RequestHandler) -> bool:
    """Whether a request may come: the one before is answered."""
    return handler._waiter is not None and not handler._waiter.done()


async def turns(ended: Callable[[], bool], quiet: Callable[[], bool], within_s: float) -> None:
    """Let the loop run until it has ``ended``, or was ``quiet`` for some turns.

    Raises:
        TimeoutError: neither is so after ``within_s``.

    """
    async with asyncio.timeout(within_s):
        since = 0
        for turn in itertools.count():
            if ended() or since == QUIET_TURNS:
                return
            since = since + 1 if quiet() else 0
            # Threads that are waited for need the processor themselves.
            await asyncio.sleep(0 if since or turn < SPINS else PAUSE_S)
