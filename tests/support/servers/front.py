"""What stands before a server and changes its answers, where it lacks a thing or gets it wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from octopull.http.client import StreamedBody
from octopull.runtime.sockets import close

SLICE_BYTES = 64 * 1024
_HOP = {"connection", "keep-alive", "transfer-encoding"}
_NONE: Mapping[str, str] = {}
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Edit = Callable[[web.StreamResponse], None]
Through = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


class Behind:
    """The server behind a front."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self.host = url.removeprefix("http://")
        self._session = session

    async def pass_on(
        self, request: web.BaseRequest, edit: Edit = lambda _: None,
        headers: Mapping[str, str] = _NONE,
        path: str = "", through: Through = lambda chunks: chunks,
    ) -> web.StreamResponse:  # fmt: skip
        """Its answer to ``request``, edited before it goes out, to a request with those ``headers``."""
        # Whole: a connection that waits with half of it can't be closed in order.
        body = await request.content.read() if request.body_exists else None
        length = {} if body is None else {"Content-Length": str(len(body))}
        async with self._session.request(
            request.method, URL(self._url + (path or request.raw_path), encoded=True), headers={**_kept(request.headers), **length, **headers},
            data=None if body is None else StreamedBody(_slices(body)), allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as told:  # fmt: skip
            answer = web.StreamResponse(status=told.status, headers=_kept(told.headers))
            edit(answer)
            await answer.prepare(request)
            async for chunk in through(told.content.iter_any()):
                await answer.write(chunk)
            await answer.write_eof()
            return answer


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), SLICE_BYTES):
        yield body[at : at + SLICE_BYTES]


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() not in _HOP}


@asynccontextmanager
async def behind(url: str) -> AsyncIterator[Behind]:
    """The server at ``url``, seen from a front."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Behind(url, session)


@asynccontextmanager
async def listening(runner: web.BaseRunner) -> AsyncIterator[str]:
    """``runner`` on a free port of the loopback; yields ``host:port``."""
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(runner.server, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        await close(server)
        await runner.cleanup()


@asynccontextmanager
async def front(handler: Handler) -> AsyncIterator[str]:
    """A server whose requests ``handler`` answers; yields its URL."""
    server = web.Server(handler)
    async with listening(web.ServerRunner(server, shutdown_timeout=0)) as address:
        try:
            yield f"http://{address}"
        finally:
            # Closed in peace, one whose client does not read would outlive the test.
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
