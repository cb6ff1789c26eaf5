"""The tag index's HTTP API; the paths of tags and lists are Kraken's."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import STALE_HEADER
from octopull.http.server import json_answer
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.kernel.names import TagName
from octopull.services.tag_index import references
from octopull.services.tag_index.pushes import Pushes
from octopull.services.tag_index.store import TagStore
from octopull.services.tag_index.upstream_tags import UpstreamTags

PAGE_MAX = 10_000
NUMBER_DIGITS_MAX = 15
REASON_CHARS_MAX = 200


class Api:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, store: TagStore, origins: OriginCluster, pushes: Pushes, upstream_tags: UpstreamTags
    ) -> None:
        self._store = store
        self._upstream_tags = upstream_tags
        self._origins = origins
        self._pushes = pushes

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        repository = "/repositories/{repository:.+}"
        app.add_routes(
            [
                web.put("/tags/{tag:.+}/digest/{digest}", self.put),
                web.get("/tags/{tag:.+}", self.get),
                web.delete("/tags/{tag:.+}", self.delete_tag),
                web.get("/list/{prefix:.*}", self.list),
                web.get("/repositories", self.repositories),
                web.get(f"{repository}/tags", self.tags),
                web.put(f"{repository}/manifests/{{digest}}", self.record),
                web.get(f"{repository}/manifests/{{digest}}", self.holds),
                web.delete(f"{repository}/manifests/{{digest}}", self.delete_manifest),
                web.get(f"{repository}/referrers/{{digest}}", self.referrers),
                web.put(f"{repository}/blobs/{{digest}}", self.blob_pushed),
                web.delete(f"{repository}/blobs/{{digest}}", self.delete_blob),
                web.get(f"{repository}/deletions/{{digest}}", self.deleted),
                web.get("/deletions", self.deletions),
            ]
        )

    async def put(self, request: web.Request) -> web.Response:
        """Record a manifest and let the tag stand for it, if all it leads to is there."""
        name = _tag(request)
        return await self._record(name.repository, _digest(request), [name.tag])

    async def get(self, request: web.Request) -> web.Response:
        """The tag's digest, as text."""
        name, headers = _tag(request), {"Cache-Control": "no-store"}
        if self._upstream_tags.covers(name.repository):
            found = await self._upstream_tags.resolve(name)
            if found.stale:
                headers[STALE_HEADER] = _header(found.stale)
            return web.Response(text=str(found.digest), headers=headers)
        digest = await asyncio.to_thread(self._store.get, name)
        return web.Response(text=str(digest), headers=headers)

    async def delete_tag(self, request: web.Request) -> web.Response:
        """Forget the tag."""
        await asyncio.to_thread(self._store.delete_tag, _tag(request))
        return web.Response(status=202)

    async def record(self, request: web.Request) -> web.Response:
        """Record a manifest and move the tags ``tag`` to it, if all it leads to is there."""
        tags = [names.tag(tag) for tag in request.query.getall("tag", [])]
        return await self._record(_repository(request), _digest(request), tags)

    async def _record(self, repository: str, digest: Digest, tags: Sequence[str]) -> web.Response:
        with self._pushes.one():
            pushed, *below = await references.walk(self._origins, repository, digest)
            await asyncio.to_thread(self._store.record, repository, pushed, below, tags)
        return web.Response()

    async def holds(self, request: web.Request) -> web.Response:
        """Whether the repository holds the manifest: 200, else 404.

        Of upstreams nobody knows all manifests, so theirs may be there.
        """
        repository, digest = _repository(request), _digest(request)
        may_be = self._upstream_tags.covers(repository)
        if not may_be and not await asyncio.to_thread(self._store.holds, repository, digest):
            raise NotFound("no such manifest", repository=repository, digest=str(digest))
        return web.Response()

    async def delete_manifest(self, request: web.Request) -> web.Response:
        """Forget a manifest and the tags on it."""
        repository, digest = _repository(request), _digest(request)
        await asyncio.to_thread(self._store.delete_manifest, repository, digest)
        return web.Response(status=202)

    async def blob_pushed(self, request: web.Request) -> web.Response:
        """Undo a deletion, if there was one."""
        repository, digest = _repository(request), _digest(request)
        await asyncio.to_thread(self._store.deletions.restore, repository, [digest])
        return web.Response()

    async def delete_blob(self, request: web.Request) -> web.Response:
        """Let the blob no longer exist in the repository."""
        repository, digest = _repository(request), _digest(request)
        await asyncio.to_thread(self._store.deletions.add, repository, digest)
        return web.Response(status=202)

    async def deleted(self, request: web.Request) -> web.Response:
        """Whether the digest was deleted here: 200, else 404."""
        repository, digest = _repository(request), _digest(request)
        if not await asyncio.to_thread(self._store.deletions.has, repository, digest):
            raise NotFound("not deleted here")
        return web.Response()

    async def deletions(self, request: web.Request) -> web.Response:
        """The feed of deletions behind ``after``."""
        after = _number(request, "after", 0)
        epoch = request.query.get("epoch", "")
        return json_answer(await asyncio.to_thread(self._store.deletions.after, epoch, after))

    async def tags(self, request: web.Request) -> web.Response:
        """A page of a repository's tags."""
        repository = _repository(request)
        return json_answer(await asyncio.to_thread(self._store.tags, repository, *_page(request)))

    async def list(self, request: web.Request) -> web.Response:
        """A page of ``repository:tag`` names that begin with the prefix."""
        prefix = request.match_info["prefix"]
        return json_answer(await asyncio.to_thread(self._store.names, prefix, *_page(request)))

    async def repositories(self, request: web.Request) -> web.Response:
        """A page of repositories."""
        return json_answer(await asyncio.to_thread(self._store.repositories, *_page(request)))

    async def referrers(self, request: web.Request) -> web.Response:
        """A page of descriptors of the manifests about a digest."""
        repository, subject = _repository(request), _digest(request)
        artifact_type = request.query.get("artifactType")
        page = _page(request)
        return json_answer(
            await asyncio.to_thread(
                self._store.referrers, repository, subject, artifact_type, *page
            )
        )


def _header(reason: str) -> str:
    """``reason`` as a header may hold it."""
    return " ".join(reason.encode("ascii", "replace").decode().split())[:REASON_CHARS_MAX]


def _tag(request: web.Request) -> TagName:
    return TagName.parse(request.match_info["tag"])


def _repository(request: web.Request) -> str:
    return names.repository(request.match_info["repository"])


def _digest(request: web.Request) -> Digest:
    return Digest.parse(request.match_info["digest"])


def _page(request: web.Request) -> tuple[int, str]:
    return min(_number(request, "n", PAGE_MAX), PAGE_MAX), request.query.get("last", "")


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > NUMBER_DIGITS_MAX:
        raise Misuse(f"{name} is a number")
    return int(text)
