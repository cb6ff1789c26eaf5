"""The tag index's HTTP API; paths are Kraken's."""

import asyncio

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.kernel.names import TagName
from octopull.services.tag_index import references
from octopull.services.tag_index.store import TagStore

PAGE_MAX = 10_000


class Api:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(self, store: TagStore, origins: OriginCluster) -> None:
        self._store = store
        self._origins = origins

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.add_routes(
            [
                web.put("/tags/{tag:.+}/digest/{digest}", self.put),
                web.get("/tags/{tag:.+}", self.get),
                web.get("/repositories/{repository:.+}/tags", self.tags),
                web.get("/list/{prefix:.*}", self.list),
            ]
        )

    async def put(self, request: web.Request) -> web.Response:
        """Let the tag stand for the digest, if all it refers to is there."""
        name = TagName.parse(request.match_info["tag"])
        digest = Digest.parse(request.match_info["digest"])
        await references.check(self._origins, name.repository, digest)
        await asyncio.to_thread(self._store.put, name, digest)
        return web.Response()

    async def get(self, request: web.Request) -> web.Response:
        """The tag's digest, as text."""
        name = TagName.parse(request.match_info["tag"])
        digest = await asyncio.to_thread(self._store.get, name)
        return web.Response(text=str(digest), headers={"Cache-Control": "no-store"})

    async def tags(self, request: web.Request) -> web.Response:
        """A page of a repository's tags."""
        repository = names.repository(request.match_info["repository"])
        count, last = _page(request)
        return web.json_response(await asyncio.to_thread(self._store.tags, repository, count, last))

    async def list(self, request: web.Request) -> web.Response:
        """A page of ``repository:tag`` names that begin with the prefix."""
        count, last = _page(request)
        prefix = request.match_info["prefix"]
        return web.json_response(await asyncio.to_thread(self._store.names, prefix, count, last))


def _page(request: web.Request) -> tuple[int, str]:
    text = request.query.get("n", str(PAGE_MAX))
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Misuse("n counts entries")
    return min(int(text), PAGE_MAX), request.query.get("last", "")
