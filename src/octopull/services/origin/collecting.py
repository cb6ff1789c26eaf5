"""The origin's part of garbage collection, over HTTP: keep, release, list, collect."""

import asyncio

import msgspec
from aiohttp import web

from octopull.clients.keeping import (
    BOOK_HEADER,
    DIGESTS_MAX,
    CollectRequest,
    StoredBlob,
    Untouched,
)  # fmt: skip
from octopull.clients.questions import parse_digests, read_digests
from octopull.config.services import GRACE_S_MAX
from octopull.http import queries
from octopull.http.server import json_answer
from octopull.kernel import documents, names
from octopull.kernel.digest import Digest
from octopull.observability import logs, metrics
from octopull.services.origin.books import Books
from octopull.services.origin.copies import Copies
from octopull.services.origin.leaving import Leaving
from octopull.services.origin.write_back import WriteBack
from octopull.storage.disk import NS_PER_S, DiskStore

log = logs.get("origin")
_COLLECT = msgspec.json.Decoder(CollectRequest)


class CollectionApi:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, store: DiskStore, books: Books, copies: Copies, leaving: Leaving,
        write_back: WriteBack,
    ) -> None:  # fmt: skip
        self._store = store
        self._leaving = leaving
        self._write_back = write_back
        self._books = books
        self._copies = copies

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.add_routes(
            [
                web.post("/namespace/{namespace:.+}/keep", self.keep),
                web.delete("/namespace/{namespace:.+}/blobs/{digest}", self.release),
                web.post("/internal/condemned", self.condemn),
                web.get("/books", self.books),
                web.get("/blobs", self.untouched),
                web.post("/collect", self.collect),
            ]
        )

    async def keep(self, request: web.Request) -> web.Response:
        """Touch the blobs that are here, and answer their sizes in bytes.

        Who names a book is about to record a manifest of the namespace that refers to them: then
        they have copies enough when this answers.
        """
        namespace = names.namespace(request.match_info["namespace"])
        digests = read_digests(await request.read(), "such a question", DIGESTS_MAX)
        book = request.headers.get(BOOK_HEADER, "")

        def keep() -> dict[Digest, int]:
            if book:
                self._books.add(book)
            sizes = ((digest, self._store.keep(digest)) for digest in digests)
            return {digest: size for digest, size in sizes if size is not None}

        kept = await asyncio.to_thread(keep)
        if book:
            await self._copies.complete(namespace, kept)
            await self._write_back.owe(namespace, kept)
        return json_answer({str(digest): size for digest, size in kept.items()})

    async def condemn(self, request: web.Request) -> web.Response:
        """Another origin will delete blobs from backends; answers which of them are here."""
        digests = read_digests(await request.read(), "such a question", DIGESTS_MAX)
        return json_answer([str(digest) for digest in await self._leaving.condemn(digests)])

    async def release(self, request: web.Request) -> web.Response:
        """Let a blob that was pushed for its own sake be collected when nothing refers to it."""
        names.namespace(request.match_info["namespace"])
        digest = Digest.parse(request.match_info["digest"])
        await asyncio.to_thread(self._store.release, digest)
        return web.Response(status=202)

    async def books(self, _: web.Request) -> web.Response:
        """The tag indexes that refer to blobs here."""
        return json_answer(self._books.names())

    async def untouched(self, request: web.Request) -> web.Response:
        """A page of blobs that nobody touched for ``untouched_s``, behind ``after``."""
        untouched_s = queries.seconds(request, "untouched_s", 0.0, GRACE_S_MAX)
        after = request.query.get("after")
        behind = None if after is None else Digest.parse(after)
        before_ns = self._store.now_ns() - int(untouched_s * NS_PER_S)
        count = queries.number(request, "n", DIGESTS_MAX, DIGESTS_MAX, least=1)
        page = await asyncio.to_thread(self._store.untouched, before_ns, behind, count)
        blobs = [StoredBlob(digest=str(digest), size=size) for digest, size in page]
        return json_answer(Untouched(before_ns=before_ns, blobs=blobs))

    async def collect(self, request: web.Request) -> web.Response:
        """Remove what is still untouched, and answer the sizes in bytes of what went."""
        asked = documents.read(_COLLECT.decode, await request.read(), "such a question")
        digests = parse_digests(asked.digests, DIGESTS_MAX)
        self._books.check_alone(request.headers.get(BOOK_HEADER, ""))
        before_ns = min(asked.before_ns, self._store.now_ns())
        sentence = await self._leaving.sentence(digests)

        def collect() -> dict[str, int]:
            sizes = ((digest, self._store.collect(digest, before_ns)) for digest in digests)
            return {str(digest): size for digest, size in sizes if size is not None}

        gone = await asyncio.to_thread(collect)
        metrics.BLOBS_COLLECTED.inc(len(gone))
        metrics.BYTES_COLLECTED.inc(sum(gone.values()))
        log.info("blobs.collected", asked=len(digests), gone=len(gone), bytes=sum(gone.values()))
        await self._leaving.collected(map(Digest.parse, gone), sentence)
        return json_answer(gone)
