"""Blobs read through the proxy (distribution-spec 1.1, end-2)."""

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.http.streams import relay_blob
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.oci.errors import OciCode, exact
from octopull.oci.ranges import parse_range
from octopull.services.proxy.responses import about

CHUNK_BYTES = 256 * 1024


class BlobsApi:
    """HEAD and GET of blobs, passed on from the origins that own them."""

    def __init__(self, origins: OriginCluster) -> None:
        self._origins = origins

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The bytes, whole or by range."""
        repository = names.repository(request.match_info["repository"])
        digest = Digest.parse(request.match_info["digest"])
        try:
            size = await self._origins.stat(repository, digest)
        except NotFound as fault:
            raise exact(NotFound("no such blob"), OciCode.BLOB_UNKNOWN) from fault
        span = parse_range(request.headers.get("Range"), size)
        response = web.StreamResponse(status=206 if span else 200, headers=about(digest))
        response.content_type = "application/octet-stream"
        response.content_length = span.length if span else size
        response.headers["Accept-Ranges"] = "bytes"
        if span:
            end = span.start + span.length - 1
            response.headers["Content-Range"] = f"bytes {span.start}-{end}/{size}"
        if request.method == "HEAD" or not response.content_length:
            await response.prepare(request)
            return response
        wanted = (span.start, span.length) if span else None
        async with self._origins.stream(repository, digest, wanted) as upstream:
            return await relay_blob(request, response, upstream.content.iter_chunked(CHUNK_BYTES))
