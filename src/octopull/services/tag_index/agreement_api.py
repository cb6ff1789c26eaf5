"""The requests by which tag indexes share a book, and the way of all others to the one that leads."""

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from octopull.clients import membership
from octopull.clients.tag_index import OPERATION_HEADER
from octopull.http import queries
from octopull.http.client import Http
from octopull.http.streams import relay_blob
from octopull.kernel.errors import Corrupt, Misuse, Unavailable
from octopull.services.tag_index import outbox
from octopull.services.tag_index.agreement import Agreement
from octopull.services.tag_index.database import Applied
from octopull.services.tag_index.outbox import BOOK_PREFIX, DIGEST_HEADER, MEMBER_HEADER
from octopull.services.tag_index.waiting import NOBODY

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RELAYED_HEADER = "Octopull-Relayed"
"""Such a request goes no further."""

MISDIRECTED = 421
"""This one does not lead (RFC 9110, 15.5.20)."""

AGAIN_S = 0.2
SETTLE_S = 6.0
"""Until somebody leads: longer than an election takes, shorter than clients wait."""

IDLE_S = 150.0
"""Longer than the slowest answer: a collection's next page."""

NUMBER_MAX = 2**62
BOOK_BYTES_MAX = 64 * 1024**3
_OWN = "/agreement", "/health", "/readiness", "/metrics", membership.PATH
_PASSED = ("Content-Type", "Cache-Control", "Retry-After", "Allow")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it is passed on; a change has a name, so that it happens once."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def by(cls, request: web.Request, body: bytes) -> "_Asked":
        headers = {
            name: value for name, value in request.headers.items() if name.startswith("Octopull-")
        }
        if request.method not in {"GET", "HEAD"}:
            headers.setdefault(OPERATION_HEADER, os.urandom(16).hex())
        headers[RELAYED_HEADER] = "1"
        return cls(request.method, request.rel_url.raw_path_qs, headers, body)


class AgreementApi:
    """The handlers, and ``led`` for those of others; books arrive in ``folder``."""

    def __init__(self, agreement: Agreement, http: Http, folder: Path) -> None:
        self._agreement = agreement
        self._http = http
        self._folder = folder
        for left in folder.glob(f"{BOOK_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)

    def add_to(self, app: web.Application) -> None:
        """Register the routes, and have all others led."""
        app.middlewares.append(self.led())
        app.add_routes(
            [
                web.post("/agreement/messages", self.messages),
                web.post("/agreement/book", self.book),
                web.get("/agreement", self.state),
            ]
        )

    async def ready(self) -> None:
        """Raises Unavailable when nobody leads."""
        if not self._agreement.is_settled:
            raise Unavailable(NOBODY, public=NOBODY)

    async def state(self, _: web.Request) -> web.Response:
        """Who leads, as far as this one knows; whether it does, and whether it counts."""
        found = self._agreement
        state = {"leader": found.leader, "leads": found.serves, "counts": found.counts}
        return web.json_response(state)

    async def messages(self, request: web.Request) -> web.Response:
        """What another member says; there is no answer but a message."""
        peer = self._peer(request)
        self._agreement.receive(peer, outbox.decode(await request.read()))
        return web.Response(status=204)

    async def book(self, request: web.Request) -> web.Response:
        """A whole book, of one that leads to one that lacks too much."""
        peer = self._peer(request)
        term, index, entry_term = (
            queries.number(request, name, 0, NUMBER_MAX) for name in ("term", "index", "entry_term")
        )
        if self._agreement.wants_book(term, index):
            with tempfile.TemporaryDirectory(prefix=BOOK_PREFIX, dir=self._folder) as folder:
                path = Path(folder) / "book.sqlite"
                await _save(request, path)
                await self._agreement.take_book(peer, term, path, Applied(index, entry_term))
        return web.Response(status=204)

    def _peer(self, request: web.Request) -> str:
        peer = request.headers.get(MEMBER_HEADER, "")
        if peer not in self._agreement.others:
            raise Misuse("not one of the tag indexes that share this book", member=peer[:200])
        return peer

    # The way to the one that leads.

    def led(self) -> Middleware:
        """A middleware: what this one can't answer goes to the one that leads."""

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(_OWN):
                return await handler(request)
            async with AsyncExitStack() as stack:
                theirs = await self._settled(request, stack)
                if isinstance(theirs, aiohttp.ClientResponse):
                    return await _passed_on(request, theirs)
                if not theirs:
                    return web.Response(status=MISDIRECTED)
                return await self._answered(request, handler)

        return answer

    async def _settled(
        self, request: web.Request, stack: AsyncExitStack
    ) -> aiohttp.ClientResponse | bool:
        """The answer of the one that leads, whose body is to come; True if that is this one.

        False: another one thought so, and was wrong.

        Raises:
            Unavailable: nobody leads.

        """
        asked = _Asked.by(request, await request.read())
        until_s = time.monotonic() + SETTLE_S
        while True:
            with suppress(Unavailable):
                if self._agreement.serves:
                    await self._agreement.current()
                    return True
                if RELAYED_HEADER in request.headers:
                    return False
                leader = await self._agreement.settled(until_s - time.monotonic())
                if leader != self._agreement.name:
                    return await self._ask(leader, asked, stack)
            if time.monotonic() >= until_s:
                raise Unavailable(NOBODY, public=NOBODY)
            await asyncio.sleep(AGAIN_S)

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What ``handler`` says, which must not go on when another leads."""
        try:
            async with asyncio.timeout(None) as led:
                with self._agreement.while_led_by(self._agreement.name, led):
                    return await handler(request)
        except TimeoutError as error:
            raise Unavailable("another tag index leads by now", public=NOBODY) from error

    async def _ask(
        self, leader: str, asked: _Asked, stack: AsyncExitStack
    ) -> aiohttp.ClientResponse:
        """The answer of ``leader``, open as long as ``stack`` is.

        Raises:
            Unavailable: it does not answer, or does not lead.

        """
        url = URL(f"http://{leader}{asked.path}", encoded=True)
        async with AsyncExitStack() as asking:
            try:
                # One that hangs does not say that it leads no more.
                async with asyncio.timeout(None) as led:
                    with self._agreement.while_led_by(leader, led):
                        exchange = self._http.exchange(
                            asked.method, url, data=asked.body or None, headers=asked.headers,
                            idle_s=IDLE_S,
                        )  # fmt: skip
                        theirs = await asking.enter_async_context(exchange)
            except TimeoutError as error:
                raise Unavailable("another tag index leads by now", member=leader) from error
            if theirs.status == MISDIRECTED:
                raise Unavailable("it does not lead", member=leader)
            stack.push_async_callback(asking.pop_all().aclose)
        return theirs


async def _passed_on(request: web.Request, theirs: aiohttp.ClientResponse) -> web.StreamResponse:
    answer = web.StreamResponse(status=theirs.status)
    for name, value in theirs.headers.items():
        if name in _PASSED or name.startswith("Octopull-"):
            answer.headers[name] = value
    answer.content_length = theirs.content_length
    return await relay_blob(request, answer, theirs.content.iter_any())


async def _save(request: web.Request, path: Path) -> None:
    """Store a body under ``path``, if it is what its header says.

    Raises:
        Corrupt: it is something else.

    """
    hasher, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > BOOK_BYTES_MAX:
                raise Corrupt("a book is longer than it may be", most=BOOK_BYTES_MAX)
            hasher.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    if hasher.hexdigest() != request.headers.get(DIGEST_HEADER):
        raise Corrupt("a book has another digest than it was sent with")
