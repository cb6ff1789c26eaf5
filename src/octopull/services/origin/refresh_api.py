"""The origin's HTTP API for blobs of upstreams: ``POST .../fetch``."""

import math

import msgspec
from aiohttp import web

from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
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
        told = await self._refresh.fetch(
            namespace, digest, _wait_s(request), manifest="manifest" in request.query
        )
        if told is None:
            return web.Response(status=201)
        return web.Response(
            status=202, body=msgspec.json.encode(told), content_type="application/json"
        )


def _wait_s(request: web.Request) -> float:
    try:
        wait_s = float(request.query.get("wait_s", "0"))
    except ValueError:
        wait_s = math.nan
    if not wait_s >= 0:
        raise Misuse("wait_s is a number of seconds")
    return min(wait_s, WAIT_S_MAX)
