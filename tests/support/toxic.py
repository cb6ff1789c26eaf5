"""A front before any HTTP server that spoils some of its answers: what networks and stores do."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from support.servers.front import Behind, behind, front

Toxin = Callable[[web.BaseRequest, Behind], Awaitable[web.StreamResponse]]
"""What is done to one request."""


@dataclass
class Toxic:
    """Requests of ``methods`` take the next of ``toxins``, then ``always`` if that is given."""

    url: str
    toxins: deque[Toxin] = field(default_factory=deque[Toxin])
    always: Toxin | None = None
    methods: frozenset[str] = frozenset({"GET"})
    asked: list[str] = field(default_factory=list[str])
    """Methods of all requests."""
    spoiled: int = 0

    def take(self, method: str) -> Toxin | None:
        """What this request gets; None: what the server answers."""
        self.asked.append(method)
        if method not in self.methods:
            return None
        toxin = self.toxins.popleft() if self.toxins else self.always
        self.spoiled += toxin is not None
        return toxin


@asynccontextmanager
async def toxic(url: str) -> AsyncIterator[Toxic]:
    """A front before the server at ``url``, which does nothing until it is told."""
    running = set[asyncio.Task[object]]()
    async with behind(url) as server:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None
            running.add(task)
            task.add_done_callback(running.discard)
            toxin = one.take(request.method)
            try:
                return await (toxin(request, server) if toxin else server.pass_on(request))
            except (aiohttp.ClientError, ConnectionError):
                _cut(request)
                return web.Response(status=502)

        async with front(handle) as address:
            one = Toxic(address)
            try:
                yield one
            finally:
                for task in running:  # Those that hang.
                    task.cancel()


def answers(status: int, headers: dict[str, str] | None = None, body: str = "") -> Toxin:
    """Another status, and the server never hears of it."""

    async def toxin(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
        del server
        await request.read()
        return web.Response(status=status, headers=headers, text=body)

    return toxin


def _cut(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


async def refuses(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
    """The connection is reset before a word."""
    del server
    _cut(request)
    return web.Response(status=502)


async def hangs(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
    """No answer comes, and the connection stays."""
    del request, server
    await asyncio.Event().wait()
    return web.Response(status=504)


async def loses_the_answer(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
    """The server does what it is asked for, and nobody hears of it."""
    with suppress(aiohttp.ClientError, ConnectionError):
        return await server.pass_on(request, lambda _: _cut(request))
    return web.Response(status=502)


def resets_upload(after_bytes: int) -> Toxin:
    """The connection is reset within the request's body."""

    async def toxin(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
        del server
        with suppress(asyncio.IncompleteReadError):
            await request.content.readexactly(after_bytes)
        _cut(request)
        return web.Response(status=502)

    return toxin


def breaks(after_bytes: int, *, stalls: bool = False, politely: bool = False) -> Toxin:
    """The body's first bytes, then a reset, or silence, or an end as if that were all."""

    async def toxin(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
        async def through(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            left = after_bytes
            async for chunk in chunks:
                if len(chunk) > left:
                    yield chunk[:left]
                    if stalls:
                        await asyncio.Event().wait()
                    if politely and request.transport is not None:
                        request.transport.close()
                    else:
                        _cut(request)
                    return
                left -= len(chunk)
                yield chunk

        return await server.pass_on(request, through=through)

    return toxin


def shortens(by_bytes: int) -> Toxin:
    """A body without its end, and a length that agrees with that."""

    async def toxin(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
        def edit(answer: web.StreamResponse) -> None:
            length = answer.content_length
            answer.content_length = None if length is None else max(0, length - by_bytes)

        async def through(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            whole = b"".join([chunk async for chunk in chunks])
            yield whole[: max(0, len(whole) - by_bytes)]

        return await server.pass_on(request, edit, through=through)

    return toxin


def flips(at: int) -> Toxin:
    """One bit of a body is another."""

    async def toxin(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
        async def through(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            before = 0
            async for chunk in chunks:
                if before <= at < before + len(chunk):
                    spoiled = bytearray(chunk)
                    spoiled[at - before] ^= 1
                    yield bytes(spoiled)
                else:
                    yield chunk
                before += len(chunk)

        return await server.pass_on(request, through=through)

    return toxin


def dated(date: str) -> Toxin:
    """The right answer by a clock that is wrong."""

    async def toxin(request: web.BaseRequest, server: Behind) -> web.StreamResponse:
        def edit(answer: web.StreamResponse) -> None:
            answer.headers["Date"] = date

        return await server.pass_on(request, edit)

    return toxin
