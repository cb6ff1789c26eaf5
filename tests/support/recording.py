"""A front that writes down what a client says to a registry, and what it hears."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from support.golden import (
    ASKED,
    Ask,
    Exchange,
    Sessions,
    Told,
    Transcript,
    chunks,
    digest,
    hidden,
    summary,
)

BODY_BYTES_MAX = 1 << 20
HOP = {"connection", "host", "content-length", "transfer-encoding"}


class Recorder:
    """Relays to ``address`` (host:port) on a port of its own; bodies are small and kept whole."""

    def __init__(self, address: str) -> None:
        self._upper = address
        self._exchanges: dict[int, tuple[Ask, Told]] = {}
        self._bodies: dict[str, bytes] = {}
        self._begun = 0
        self._client = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._relay)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self._runner.cleanup()
        await self._session.close()

    def transcript(self, operation: str, after: Sequence[str], *, reads: bool) -> Transcript:
        """All that was said, in the order in which it was asked."""
        sessions, said = Sessions(), []
        for number in sorted(self._exchanges):
            ask, told = self._exchanges[number]
            ask = msgspec.structs.replace(ask, path=sessions.hide(ask.path))
            said.append(Exchange(ask, hidden(told, sessions)))
        return Transcript(self._client, operation, list(after), reads, said, self._bodies)

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        number = self._begun
        self._begun += 1
        # Product and version; what follows tells of the machine.
        self._client = self._client or request.headers.get("User-Agent", "").partition(" ")[0]
        body = await request.read()
        chunked = request.headers.get("Transfer-Encoding") == "chunked"
        forwarded = [(n, v) for n, v in request.headers.items() if n.lower() not in HOP]
        async with self._session.request(
            request.method, URL(f"http://{self._upper}{request.raw_path}", encoded=True),
            data=chunks(body) if chunked else body, headers=forwarded, allow_redirects=False,
        ) as answer:  # fmt: skip
            content = await answer.read()
        kept = [(str(name), value) for name, value in request.headers.items() if name in ASKED]
        path = request.raw_path
        told = summary(path, answer.status, answer.headers, content)
        self._exchanges[number] = (Ask(request.method, path, kept, digest(body), chunked), told)
        if body:
            self._bodies[digest(body)] = body
        return await _pass_on(request, answer, content)


async def _pass_on(
    request: web.Request, answer: aiohttp.ClientResponse, content: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status)
    for name, value in answer.headers.items():
        if name.lower() not in HOP:
            response.headers.add(name, value)
    response.content_length = int(answer.headers.get("Content-Length", len(content)))
    await response.prepare(request)
    if content:
        await response.write(content)
    await response.write_eof()
    return response
