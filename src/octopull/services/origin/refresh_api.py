"""The origin's HTTP API for blobs from elsewhere: ``POST .../fetch``, ``HEAD .../source``."""

from aiohttp import web

from octopull.clients.fetching import Until
from octopull.clients.origin import SIZE_HEADER
from octopull.http import queries
from octopull.http.server import json_answer
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.services.origin.refresh import Refresh

WAIT_S_MAX = 10.0


class RefreshApi:
    """The handlers; see ``add_to``."""

    def __init__(self, refresh: Refresh) -> None:
        self._refresh = refresh

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        blob = "/namespace/{namespace:.+}/blobs/{digest}"
        app.add_routes(
            [web.post(f"{blob}/fetch", self.fetch), web.get(f"{blob}/source", self.source)]
        )

    async def fetch(self, request: web.Request) -> web.Response:
        """Fetch the blob: 201 once it is here, else 202 and how far it is.

        That is told once it can be read, unless ``whole`` is asked for, and after ``wait_s``.
        """
        namespace = names.namespace(request.match_info["namespace"])
        digest = Digest.parse(request.match_info["digest"])
        wait_s = min(queries.seconds(request, "wait_s", 0.0), WAIT_S_MAX)
        told = await self._refresh.fetch(
            namespace, digest, wait_s, manifest="manifest" in request.query,
            until=Until.WHOLE if "whole" in request.query else Until.READABLE,
        )  # fmt: skip
        if told is None:
            return web.Response(status=201)
        return json_answer(told, 202)

    async def source(self, request: web.Request) -> web.Response:
        """Whether the blob could be fetched, and its size if that is known before."""
        namespace = names.namespace(request.match_info["namespace"])
        digest = Digest.parse(request.match_info["digest"])
        size = await self._refresh.size_elsewhere(namespace, digest)
        return web.Response(headers={} if size is None else {SIZE_HEADER: str(size)})
