"""The origin's HTTP API for blobs of upstreams: ``POST .../fetch``."""

from aiohttp import web

from octopull.http import queries
from octopull.http.server import json_answer
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.services.origin.refresh import Refresh

WAIT_S_MAX = 10.0


class RefreshApi:
    """The handler; see ``add_to``."""

    def __init__(self, refresh: Refresh) -> None:
        self._refresh = refresh

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.add_routes([web.post("/namespace/{namespace:.+}/blobs/{digest}/fetch", self.fetch)])

    async def fetch(self, request: web.Request) -> web.Response:
        """Fetch the blob: 201 once it is here, 202 and how far it is after ``wait_s`` seconds."""
        namespace = names.namespace(request.match_info["namespace"])
        digest = Digest.parse(request.match_info["digest"])
        wait_s = min(queries.seconds(request, "wait_s", 0.0), WAIT_S_MAX)
        told = await self._refresh.fetch(
            namespace, digest, wait_s, manifest="manifest" in request.query
        )
        if told is None:
            return web.Response(status=201)
        return json_answer(told, 202)
