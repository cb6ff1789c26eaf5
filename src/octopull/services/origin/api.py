"""The origin's HTTP API: blobs, metainfo, upload sessions, copies from other origins.

The ``/namespace/{ns}/blobs/{digest}/uploads`` family keeps Kraken's paths; there the range is
``Content-Range: start-end`` with an exclusive end.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator, Sequence

from aiohttp import web

from octopull.blob import start
from octopull.blob.metainfo import Growing
from octopull.blob.start import Described, Plain
from octopull.clients.starts import REPLY_BYTES_MAX, SEALED, read_request
from octopull.http import queries
from octopull.http.server import json_answer
from octopull.http.streams import MemoryBlob, send_blob
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidRange, NotFound
from octopull.kernel.names import namespace as checked_namespace
from octopull.services.origin.copies import Copies
from octopull.services.origin.refresh import Refresh
from octopull.services.origin.ring import Ring
from octopull.services.origin.sealing import Sealing, Told
from octopull.services.origin.uploads import Taker, receive
from octopull.services.origin.write_back import WriteBack
from octopull.storage.blob_file import BlobFile, begun
from octopull.storage.hot import HotStore
from octopull.transport.node import PeerNode

OFFSET_HEADER = "Octopull-Offset"
_START = re.compile(r"(?:bytes )?(\d{1,15})-\d*(?:/.*)?", re.ASCII)


class Api:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, store: HotStore, taker: Taker, ring: Ring, copies: Copies, refresh: Refresh,
        write_back: WriteBack, node: PeerNode, sealing: Sealing,
    ) -> None:  # fmt: skip
        self._store = store
        self._refresh = refresh
        self._write_back = write_back
        self._uploads = taker.uploads
        self._taker = taker
        self._ring = ring
        self._copies = copies
        self._node = node
        self._sealing = sealing

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        blob = "/namespace/{namespace:.+}/blobs/{digest}"
        kraken, plain = f"{blob}/uploads", "/namespace/{namespace:.+}/uploads"
        app.add_routes(
            [
                web.get("/peer", self.peer),
                web.get("/blobs/{digest}/locations", self.locations),
                web.put(f"/internal{blob}", self.take_copy),
                web.get(f"{blob}/metainfo", self.metainfo),
                web.get(f"{blob}/hashes", self.hashes),
                web.post("/namespace/{namespace:.+}/starts", self.starts),
                *(
                    route
                    for base in (kraken, plain)
                    for route in (
                        web.post(base, self.start_upload),
                        web.patch(f"{base}/{{session}}", self.append),
                        web.get(f"{base}/{{session}}", self.upload_size),
                        web.put(f"{base}/{{session}}", self.commit),
                        web.delete(f"{base}/{{session}}", self.abort),
                        web.post(f"{base}/{{session}}/rewind", self.rewind),
                    )
                ),
                web.get(blob, self.blob),
            ]
        )

    async def peer(self, _: web.Request) -> web.Response:
        """Where this origin listens for peers."""
        return json_answer(self._node.me)

    async def locations(self, request: web.Request) -> web.Response:
        """The digest's owners, in the header ``Origin-Locations``."""
        owners = self._ring.owners(_digest(request))
        return web.Response(headers={"Origin-Locations": ",".join(owners)})

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """The bytes, whole or by range; of a blob on its way, as they come."""
        digest = _digest(request)
        headers = {"Content-Type": "application/octet-stream"}
        try:
            blob = await self._stored(digest, for_head=request.method == "HEAD")
        except NotFound:
            if "whole" in request.query:
                raise
            return await send_blob(request, self._refresh.arrival(digest), headers)
        if isinstance(blob, bytes):
            return await send_blob(request, MemoryBlob(blob), headers)
        with blob:
            return await send_blob(request, blob, headers)

    async def _stored(self, digest: Digest, *, for_head: bool) -> bytes | BlobFile:
        """The blob, of which the first bytes are proven.

        Raises:
            NotFound: it isn't here, or not as it was pushed: another origin may have it.

        """
        # A push may rest on what a HEAD says: that the disk has the blob, not memory alone.
        if for_head:
            return await asyncio.to_thread(self._store.open, digest)
        try:
            blob = await self._store.get(digest)
            if isinstance(blob, BlobFile) and blob.size:
                await begun(blob)
        except Corrupt as fault:
            raise NotFound("no such blob here", digest=str(digest)) from fault
        return blob

    async def metainfo(self, request: web.Request) -> web.Response:
        """The encoded start, which is never the blob itself."""
        digest = _digest(request)
        found: Described
        try:
            found = await asyncio.to_thread(self._store.metainfo, digest)
        except NotFound:
            found = self._refresh.arrival(digest).described()
        body = await asyncio.to_thread(self._told(request), found)
        return web.Response(body=body, content_type="application/octet-stream")

    def _told(self, request: web.Request) -> Told:
        return self._sealing.sealed if SEALED in request.query else start.encode

    async def hashes(self, request: web.Request) -> web.Response:
        """Hashes of the pieces from ``first`` on, as far as they are known."""
        digest, first = _digest(request), queries.number(request, "first", 0)
        try:
            metainfo = await asyncio.to_thread(self._store.metainfo, digest)
            first = min(first, metainfo.layout.count)
            found = Growing(metainfo.outline, first, metainfo.piece_hashes[first:])
        except NotFound:
            found = self._refresh.arrival(digest).growing(first)
        sealed = SEALED in request.query
        body = await asyncio.to_thread(self._sealing.sealed, found) if sealed else found.encode()
        return web.Response(body=body, content_type="application/octet-stream")

    async def starts(self, request: web.Request) -> web.Response:
        """How to begin with each of several blobs; those that aren't here are left out."""
        digests = read_request(await request.read())
        arriving = list(self._arriving(digests))
        body = await asyncio.to_thread(self._starts, digests, arriving, self._told(request))
        return web.Response(body=body, content_type="application/octet-stream")

    def _arriving(self, digests: Sequence[Digest]) -> Iterator[Plain]:
        for digest in digests:
            with contextlib.suppress(NotFound):
                yield self._refresh.arrival(digest).described()

    def _starts(self, digests: Sequence[Digest], arriving: Sequence[Plain], told: Told) -> bytes:
        def found() -> Iterator[bytes]:
            yield from map(told, arriving)
            for digest in digests:
                # What the disk has damaged another origin may have.
                with contextlib.suppress(NotFound, Corrupt):
                    yield told(self._store.start(digest))

        return start.join(found(), REPLY_BYTES_MAX)

    async def start_upload(self, request: web.Request) -> web.Response:
        """Open a session; its id is the ``Location``."""
        _namespace(request)
        session = await asyncio.to_thread(self._uploads.start)
        return web.Response(status=202, headers={"Location": session, OFFSET_HEADER: "0"})

    async def append(self, request: web.Request) -> web.Response:
        """Add the body at the session's end."""
        session = request.match_info["session"]
        size = await receive(
            request.content, self._uploads, session, _offset(request), self._taker.size_max
        )
        return web.Response(status=204, headers={OFFSET_HEADER: str(size)})

    async def upload_size(self, request: web.Request) -> web.Response:
        """Where to resume."""
        size = await asyncio.to_thread(self._uploads.size, request.match_info["session"])
        return web.Response(status=204, headers={OFFSET_HEADER: str(size)})

    async def commit(self, request: web.Request) -> web.Response:
        """Make the session's bytes a blob, on a quorum of owners.

        On Kraken's path, where no manifest will refer to it, the blob is lone.
        """
        lone = "digest" in request.match_info
        text = request.match_info["digest"] if lone else request.query.get("digest", "")
        digest = Digest.parse(text)
        session = request.match_info["session"]
        try:
            await asyncio.to_thread(self._uploads.commit, session, digest, lone=lone, unspread=True)
        except NotFound:
            # A repeated commit, whose first answer was lost or lacked a quorum. Of this session:
            # else whoever knows a digest would get the blob without having its bytes.
            if self._uploads.committed(session) != digest:
                raise
            if await asyncio.to_thread(self._store.keep, digest, lone=lone) is None:
                raise
        namespace = _namespace(request)
        async with self._write_back.owing(namespace, digest):
            await self._copies.spread(namespace, digest, lone=lone)
        return web.Response(status=201)

    async def rewind(self, request: web.Request) -> web.Response:
        """Forget what came behind an offset."""
        session, size = request.match_info["session"], _offset(request)
        await asyncio.to_thread(self._uploads.rewind, session, size)
        return web.Response(status=204)

    async def abort(self, request: web.Request) -> web.Response:
        """Drop the session."""
        await asyncio.to_thread(self._uploads.abort, request.match_info["session"])
        return web.Response(status=204)

    async def take_copy(self, request: web.Request) -> web.Response:
        """Take a blob from another origin; durable before the answer."""
        digest, lone = _digest(request), "lone" in request.query
        namespace = _namespace(request)
        if await asyncio.to_thread(self._store.keep, digest, lone=lone) is None:
            await self._taker.take(request.content, digest, lone=lone)
        async with self._write_back.owing(namespace, digest, there="backed" in request.query):
            pass
        return web.Response(status=201)


def _digest(request: web.Request) -> Digest:
    return Digest.parse(request.match_info["digest"])


def _namespace(request: web.Request) -> str:
    return checked_namespace(request.match_info["namespace"])


def _offset(request: web.Request) -> int:
    text: str = request.headers.get(OFFSET_HEADER, "") or request.headers.get("Content-Range", "")
    match = _START.fullmatch(text if "-" in text else f"{text}-")
    if match is None:
        raise InvalidRange(f"say where the bytes belong, by {OFFSET_HEADER} or Content-Range")
    return int(match[1])
