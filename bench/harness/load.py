"""HTTP requests by the thousand: as fast as a server answers them, or at a steady pace."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

CONNECTIONS = 64
HEAD_END = b"\r\n\r\n"


def post(path: str, body: bytes) -> bytes:
    """A POST as sent over a connection that stays open."""
    head = (f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")  # fmt: skip
    return head.encode() + body


def get(path: str) -> bytes:
    """A GET, likewise."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


async def _or_fail(done: "asyncio.Future[None]") -> None:
    """Wait, but not for ever: a connection that broke asks no more."""
    async with asyncio.timeout(120):
        await done


class _Connection(asyncio.Protocol):
    """One request at a time; ``answered`` is called with seconds since it was due."""

    def __init__(self, answered: Callable[["_Connection", float], None]) -> None:
        self._answered = answered
        self._got = bytearray()
        self._due = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        """Send a request that was due at ``due`` (monotonic seconds)."""
        assert self._transport is not None
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(HEAD_END)
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(bytes(self._got))
        fields = head.lower().split(b"content-length: ")
        if len(body) >= int(fields[1].split(b"\r")[0]):
            self._got.clear()
            self._answered(self, time.monotonic() - self._due)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def _connect(url: str, answered: Callable[[_Connection, float], None]) -> list[_Connection]:
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80
    made = [
        await loop.create_connection(lambda: _Connection(answered), host, port)
        for _ in range(CONNECTIONS)
    ]
    return [connection for _, connection in made]


async def flood(url: str, requests: Sequence[bytes], count: int) -> float:
    """Requests answered per second, each connection asking again as soon as it was answered."""
    done = asyncio.get_running_loop().create_future()
    asked = answers = 0

    def answered(connection: _Connection, _: float) -> None:
        nonlocal answers
        answers += 1
        if answers == count:
            done.set_result(None)
        else:
            go_on(connection)

    def go_on(connection: _Connection) -> None:
        nonlocal asked
        if asked < count:
            connection.ask(requests[asked % len(requests)], time.monotonic())
            asked += 1

    connections = await _connect(url, answered)
    started = time.monotonic()
    for connection in connections:
        go_on(connection)
    await _or_fail(done)
    took_s = time.monotonic() - started
    for connection in connections:
        connection.close()
    return count / took_s


async def paced(url: str, requests: Sequence[bytes], per_s: float, count: int) -> list[float]:
    """Seconds from when each request was due to its answer, so that a late start counts."""
    done = asyncio.get_running_loop().create_future()
    took: list[float] = []
    waiting: deque[tuple[bytes, float]] = deque()
    idle: list[_Connection] = []

    def answered(connection: _Connection, seconds: float) -> None:
        took.append(seconds)
        if len(took) == count:
            done.set_result(None)
        elif waiting:
            connection.ask(*waiting.popleft())
        else:
            idle.append(connection)

    connections = await _connect(url, answered)
    idle += connections
    started, sent = time.monotonic(), 0
    while sent < count:
        now = time.monotonic()
        while sent < count and started + sent / per_s <= now:
            due = started + sent / per_s
            if idle:
                idle.pop().ask(requests[sent % len(requests)], due)
            else:
                waiting.append((requests[sent % len(requests)], due))
            sent += 1
        await asyncio.sleep(0.001)
    await _or_fail(done)
    for connection in connections:
        connection.close()
    return took
