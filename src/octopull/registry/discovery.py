"""Content discovery, the same on proxy and agent: tags, referrers and the catalog of repositories.

Distribution-spec 1.1, end-1, end-8 and end-12; the catalog is docker's.
"""

import msgspec
from aiohttp import web

from octopull.clients.tag_index import TagIndex
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.oci.listing import Page
from octopull.oci.manifests import MediaType
from octopull.registry.headers import VERSION_HEADER
from octopull.registry.pull_through import staleness

ARTIFACT_TYPE_CHARS_MAX = 256


class _Named(msgspec.Struct):
    digest: str


class Discovery:
    """The handlers; see ``routes``."""

    def __init__(self, tags: TagIndex) -> None:
        self._tags = tags

    def routes(self) -> list[web.RouteDef]:
        """The table of routes; ``/v2/_catalog`` must come before any that takes repositories."""
        return [
            web.get("/v2/", self.version),
            web.get("/v2", self.version),
            web.get("/v2/_catalog", self.catalog),
            web.get("/v2/{repository:.+}/tags/list", self.tag_list),
            web.get("/v2/{repository:.+}/referrers/{digest}", self.referrers),
        ]

    async def version(self, _: web.Request) -> web.Response:
        """The API's presence (end-1)."""
        return web.json_response({}, headers=VERSION_HEADER)

    async def tag_list(self, request: web.Request) -> web.Response:
        """A page of the tags of a repository (end-8)."""
        repository = names.repository(request.match_info["repository"])
        page = Page.parse(request.query)
        found = await self._tags.tags(repository, page.count, page.last)
        headers = {**page.link(f"/v2/{repository}/tags/list", found.tags), **staleness(found.stale)}
        return _json({"name": repository, "tags": found.tags}, headers)

    async def catalog(self, request: web.Request) -> web.Response:
        """A page of the repositories there are (docker's registry API, "Catalog")."""
        page = Page.parse(request.query)
        found = await self._tags.repositories(page.count, page.last)
        return _json({"repositories": found}, page.link("/v2/_catalog", found))

    async def referrers(self, request: web.Request) -> web.Response:
        """The manifests about a digest, as an image index (end-12a and end-12b)."""
        repository = names.repository(request.match_info["repository"])
        subject = Digest.parse(request.match_info["digest"])
        wanted = request.query.get("artifactType", "")[:ARTIFACT_TYPE_CHARS_MAX]
        page = Page.parse(request.query)
        found = await self._tags.referrers(
            repository, subject, wanted or None, page.count, page.last
        )
        headers: dict[str, str] = {}
        if found.more and found.manifests:
            kept = {"artifactType": wanted} if wanted else {}
            last = msgspec.json.decode(found.manifests[-1], type=_Named).digest
            headers = page.link_behind(last, f"/v2/{repository}/referrers/{subject}", kept)
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
        manifests, kind = found.manifests, MediaType.OCI_INDEX.value
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        return _json(index, headers, MediaType.OCI_INDEX)


def _json(
    document: object, headers: dict[str, str], content_type: str = "application/json"
) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document),
        headers={**VERSION_HEADER, **headers, "Content-Type": content_type},
    )
