"""The agent's OCI pull API: what docker, containerd and the rest ask of their local mirror.

The ``ns`` parameter of containerd's mirror requests is accepted; blobs and tags are those
of the cluster whatever upstream it names.
"""

from aiohttp import web

from octopull.clients.tag_index import TagIndex
from octopull.http.streams import send_blob
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, TooLarge, Unsupported
from octopull.kernel.names import TagName
from octopull.oci.errors import OciCode, exact
from octopull.oci.listing import Page
from octopull.oci.manifests import MANIFEST_BYTES_MAX, parse
from octopull.services.agent.blobs import Blobs

VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}


class RegistryApi:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(self, blobs: Blobs, tags: TagIndex) -> None:
        self._blobs = blobs
        self._tags = tags

    def add_to(self, app: web.Application) -> None:
        """Register every route; all else under ``/v2/`` is refused in OCI's words."""
        app.add_routes(
            [
                web.get("/v2/", self.version),
                web.get("/v2/{repository:.+}/manifests/{reference}", self.manifest),
                web.get("/v2/{repository:.+}/blobs/{digest}", self.blob),
                web.get("/v2/{repository:.+}/tags/list", self.tag_list),
                web.route("*", "/v2/{rest:.*}", self.refuse),
            ]
        )

    async def version(self, _: web.Request) -> web.Response:
        """The API's presence (distribution-spec 1.1, end-1)."""
        return web.json_response({}, headers=VERSION_HEADER)

    async def manifest(self, request: web.Request) -> web.Response:
        """A manifest by tag or digest (end-3), with the exact bytes that were pushed."""
        repository = names.repository(request.match_info["repository"])
        reference = names.reference(request.match_info["reference"])
        try:
            digest = await self._resolve(repository, reference)
            content = await self._blobs.read(repository, digest, MANIFEST_BYTES_MAX)
        except (NotFound, TooLarge) as fault:
            raise exact(NotFound("no such manifest", reference=str(reference)),
                      OciCode.MANIFEST_UNKNOWN) from fault  # fmt: skip
        manifest = parse(content, None)
        self._blobs.expect(repository, [one.digest for one in manifest.references])
        headers = {
            **VERSION_HEADER,
            "Content-Type": manifest.media_type.value,
            "Docker-Content-Digest": str(digest),
            "Content-Length": str(len(content)),
            "ETag": f'"{digest}"',
        }
        return web.Response(body=b"" if request.method == "HEAD" else content, headers=headers)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """A blob (end-2), streamed while it arrives; HEAD fetches nothing."""
        repository = names.repository(request.match_info["repository"])
        digest = Digest.parse(request.match_info["digest"])
        headers = {
            **VERSION_HEADER,
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": str(digest),
            "ETag": f'"{digest}"',
        }
        try:
            if request.method == "HEAD":
                size = await self._blobs.size(repository, digest)
                return web.Response(
                    headers={**headers, "Accept-Ranges": "bytes", "Content-Length": str(size)}
                )
            async with self._blobs.open(repository, digest) as source:
                return await send_blob(request, source, headers)
        except NotFound as fault:
            raise exact(NotFound("no such blob", digest=str(digest)),
                      OciCode.BLOB_UNKNOWN) from fault  # fmt: skip

    async def tag_list(self, request: web.Request) -> web.Response:
        """The tags of a repository (end-8)."""
        repository = names.repository(request.match_info["repository"])
        page = Page.parse(request.query)
        found = await self._tags.tags(repository, page.count, page.last)
        link = page.link(f"/v2/{repository}/tags/list", found)
        return web.json_response(
            {"name": repository, "tags": found}, headers={**VERSION_HEADER, **link}
        )

    async def refuse(self, request: web.Request) -> web.Response:
        """Agents only serve pulls."""
        raise Unsupported("an agent serves pulls only: push to a proxy", method=request.method)

    async def _resolve(self, repository: str, reference: Digest | str) -> Digest:
        if isinstance(reference, Digest):
            return reference
        return await self._tags.resolve(TagName(repository, reference))
