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
from octopull.clients.starts import REPLY_BYTES_MAX, read_request
from octopull.http.server import json_answer
from octopull.http.streams import send_blob
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidRange, NotFound
from octopull.kernel.names import namespace as checked_namespace
from octopull.kernel.peers import Peer
from octopull.services.origin.copies import Copies
from octopull.services.origin.uploads import receive
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads

OFFSET_HEADER = "Octopull-Offset"
_START = re.compile(r"(?:bytes )?(\d{1,15})-\d*(?:/.*)?", re.ASCII)


class Api:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, store: DiskStore, uploads: Uploads, copies: Copies, me: Peer, blob_bytes_max: int
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._copies = copies
        self._me = me
        self._blob_bytes_max = blob_bytes_max

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
        return json_answer(self._me)

    async def locations(self, request: web.Request) -> web.Response:
        """The digest's owners, in the header ``Origin-Locations``."""
        owners = self._copies.owners(_digest(request))
        return web.Response(headers={"Origin-Locations": ",".join(owners)})

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """The bytes, whole or by range."""
        digest = _digest(request)
        with await asyncio.to_thread(self._store.open, digest) as blob:
            headers = {"Content-Type": "application/octet-stream"}
            return await send_blob(request, blob, headers)

    async def metainfo(self, request: web.Request) -> web.Response:
        """The encoded metainfo."""
        metainfo = await asyncio.to_thread(self._store.metainfo, _digest(request))
        return web.Response(body=metainfo.encode(), content_type="application/octet-stream")

    async def starts(self, request: web.Request) -> web.Response:
        """How to begin with each of several blobs; those that aren't here are left out."""
        digests = read_request(await request.read())
        body = await asyncio.to_thread(self._starts, digests)
        return web.Response(body=body, content_type="application/octet-stream")

    def _starts(self, digests: Sequence[Digest]) -> bytes:
        def found() -> Iterator[bytes]:
            for digest in digests:
                with contextlib.suppress(NotFound):
                    yield start.encode(self._store.start(digest))

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
            request.content, self._uploads, session, _offset(request), self._blob_bytes_max
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
            await asyncio.to_thread(self._uploads.commit, session, digest, lone=lone)
        except NotFound:
            # A repeated commit, whose first answer was lost or lacked a quorum.
            if await asyncio.to_thread(self._store.keep, digest, lone=lone) is None:
                raise
        await self._copies.spread(_namespace(request), digest, lone=lone)
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
        _namespace(request)
        if await asyncio.to_thread(self._store.keep, digest, lone=lone) is None:
            session = await asyncio.to_thread(self._uploads.start)
            try:
                await receive(request.content, self._uploads, session, 0, self._blob_bytes_max)
                await asyncio.to_thread(self._uploads.commit, session, digest, lone=lone)
            finally:
                with contextlib.suppress(NotFound):
                    await asyncio.to_thread(self._uploads.abort, session)
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
