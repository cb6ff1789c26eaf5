"""Blobs read and deleted through the proxy (distribution-spec 1.1, end-2 and end-10)."""

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.http.streams import content_range, relay_blob
from octopull.kernel.errors import NotFound
from octopull.oci.ranges import parse_range
from octopull.registry import targets
from octopull.registry.access.private import Private
from octopull.registry.headers import VERSION_HEADER, about, not_modified, unchanged
from octopull.services.proxy.repositories import Repositories

CHUNK_BYTES = 256 * 1024


class BlobsApi:
    """HEAD, GET and DELETE of blobs; bytes are passed on from the origins that own them."""

    def __init__(
        self, origins: OriginCluster, repositories: Repositories, private: Private | None
    ) -> None:
        self._origins = origins
        self._repositories = repositories
        self._private = private

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The bytes, whole or by range.

        Whoever asks by HEAD may be about to refer to the blob, so that keeps it.
        """
        repository, digest = targets.blob(request)
        find = self._repositories.keep if request.method == "HEAD" else self._repositories.size
        try:
            if self._private is not None:
                await self._private.check(request, repository, digest)
                if request.method != "HEAD":
                    await self._private.signed.check_blob(repository, digest)
            size = await find(repository, digest)
        except NotFound as fault:
            raise targets.no_blob() from fault
        if unchanged(request, digest):
            return not_modified(digest)
        span = parse_range(request.headers.get("Range"), size)
        response = web.StreamResponse(status=206 if span else 200, headers=about(digest))
        response.content_type = "application/octet-stream"
        response.content_length = span.length if span else size
        response.headers["Accept-Ranges"] = "bytes"
        if span:
            response.headers["Content-Range"] = content_range(span, size)
        if request.method == "HEAD" or not response.content_length:
            await response.prepare(request)
            return response
        wanted = (span.start, span.length) if span else None
        async with self._origins.holders.stream(repository, digest, wanted) as upstream:
            return await relay_blob(request, response, upstream.content.iter_chunked(CHUNK_BYTES))

    async def delete(self, request: web.Request) -> web.Response:
        """Let the blob no longer exist in the repository; elsewhere it stays."""
        repository, digest = targets.blob(request)
        try:
            if self._private is not None:
                await self._private.check(request, repository, digest)
            await self._repositories.delete_blob(repository, digest)
        except NotFound as fault:
            raise targets.no_blob() from fault
        return web.Response(status=202, headers=VERSION_HEADER)
