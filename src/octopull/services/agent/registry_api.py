"""The agent's OCI pull API: what docker, containerd and the rest ask of their local mirror.

The ``ns`` parameter of containerd's mirror requests chooses a configured upstream; if it names
another, repositories are the cluster's own.
"""

from aiohttp import web

from octopull.clients.tag_index import Resolution, TagIndex
from octopull.http.streams import send_blob
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidManifest, NotFound, TooLarge, Unavailable, Unsupported
from octopull.kernel.names import TagName
from octopull.oci.manifests import MANIFEST_BYTES_MAX, parse
from octopull.registry import targets
from octopull.registry.access.private import Private
from octopull.registry.discovery import Discovery
from octopull.registry.headers import about, not_modified, unchanged
from octopull.registry.pull_through import staleness
from octopull.services.agent.blobs import Blobs
from octopull.services.agent.deletions import Deletions
from octopull.services.agent.last_tags import LastTags


class RegistryApi:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, blobs: Blobs, tags: TagIndex, last_tags: LastTags, deletions: Deletions,
        private: Private | None,
    ) -> None:  # fmt: skip
        self._private = private
        self._blobs = blobs
        self._tags = tags
        self._last_tags = last_tags
        self._deletions = deletions

    def add_to(self, app: web.Application) -> None:
        """Register every route; all else under ``/v2/`` is refused in OCI's words."""
        app.add_routes(
            [
                *Discovery(self._tags).routes(),
                web.get("/v2/{repository:.+}/manifests/{reference}", self.manifest),
                web.get("/v2/{repository:.+}/blobs/{digest}", self.blob),
                web.route("*", "/v2/{rest:.*}", self.refuse),
            ]
        )

    async def manifest(self, request: web.Request) -> web.Response:
        """A manifest by tag or digest (end-3), with the exact bytes that were pushed."""
        repository, reference = targets.manifest(request)
        try:
            found = await self._resolve(repository, reference)
            digest = found.digest
            private = self._private
            demanded = private is not None and private.signed.demanded(repository)
            if unchanged(request, digest) and not demanded:
                await self._blobs.size(repository, digest)
                return not_modified(digest)
            content = await self._blobs.read(repository, digest, MANIFEST_BYTES_MAX)
            manifest = parse(content, None)
        except (NotFound, TooLarge, InvalidManifest, Unsupported) as fault:
            raise targets.no_manifest() from fault
        if private is not None:
            if demanded:
                await private.signed.check_manifest(repository, digest, content, manifest)
            private.learn(repository, digest, manifest)
        self._blobs.expect(repository, [one.digest for one in manifest.references])
        headers = {
            **about(digest),
            **staleness(found.stale),
            "Content-Type": manifest.media_type.value,
            "Content-Length": str(len(content)),
        }
        return web.Response(body=b"" if request.method == "HEAD" else content, headers=headers)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """A blob (end-2), streamed while it arrives; HEAD fetches nothing."""
        repository, digest = targets.blob(request)
        headers = {**about(digest), "Content-Type": "application/octet-stream"}
        try:
            await self._deletions.check(repository, digest)
            if self._private is not None:
                await self._private.check(request, repository, digest)
                if request.method != "HEAD":
                    await self._private.signed.check_blob(repository, digest)
            if unchanged(request, digest):
                await self._blobs.size(repository, digest)
                return not_modified(digest)
            if request.method == "HEAD":
                size = await self._blobs.size(repository, digest)
                return web.Response(
                    headers={**headers, "Accept-Ranges": "bytes", "Content-Length": str(size)}
                )
            async with self._blobs.open(repository, digest) as source:
                return await send_blob(request, source, headers)
        except NotFound as fault:
            raise targets.no_blob() from fault

    async def refuse(self, request: web.Request) -> web.Response:
        """Agents only serve pulls."""
        raise Unsupported("an agent serves pulls only: push to a proxy", method=request.method)

    async def _resolve(self, repository: str, reference: Digest | str) -> Resolution:
        if isinstance(reference, str):
            return await self._last_tags.resolution(TagName(repository, reference))
        if self._private is None:
            await self._check(repository, reference)
        else:
            await self._deletions.check(repository, reference)
            await self._private.check_manifest(repository, reference)
        return Resolution(reference)

    async def _check(self, repository: str, digest: Digest) -> None:
        """Raise NotFound if ``repository`` holds no such manifest.

        While no tag index answers, the cache serves what isn't known to be deleted.
        """
        try:
            held = await self._tags.holds(repository, digest)
        except Unavailable:
            await self._deletions.check(repository, digest)
        else:
            if not held:
                raise NotFound("not in this repository")
