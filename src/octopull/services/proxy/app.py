"""Wires a proxy: the registry API's table of routes in front of origins and tag index."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import TagIndex
from octopull.config.services import ProxyConfig
from octopull.http.client import Http
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel import names
from octopull.kernel.errors import Unsupported
from octopull.oci.listing import Page
from octopull.services.proxy.blobs import BlobsApi
from octopull.services.proxy.manifests import ManifestsApi
from octopull.services.proxy.responses import VERSION_HEADER
from octopull.services.proxy.uploads import UploadsApi


async def run(
    config: ProxyConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: the address can't be had.

    """
    async with Http() as http:
        origins = OriginCluster(http, config.origins, config.replicas)
        tags = TagIndex(http, config.tag_indexes)
        app = application("proxy")
        _add_routes(app, origins, tags)
        checks = [origins.ready, tags.ready]
        async with serve(app, "proxy", config.listen, checks) as listening:
            started(listening)
            await stop.wait()


def _add_routes(app: web.Application, origins: OriginCluster, tags: TagIndex) -> None:
    uploads, blobs, manifests = UploadsApi(origins), BlobsApi(origins), ManifestsApi(origins, tags)

    async def version(_: web.Request) -> web.Response:
        return web.json_response({}, headers=VERSION_HEADER)

    async def tag_list(request: web.Request) -> web.Response:
        repository = names.repository(request.match_info["repository"])
        page = Page.parse(request.query)
        found = await tags.tags(repository, page.count, page.last)
        link = page.link(f"/v2/{repository}/tags/list", found)
        return web.json_response(
            {"name": repository, "tags": found}, headers={**VERSION_HEADER, **link}
        )

    async def refuse(request: web.Request) -> web.Response:
        raise Unsupported("no such operation", method=request.method)

    base = "/v2/{repository:.+}"
    session = f"{base}/blobs/uploads/{{token}}"
    app.add_routes(
        [
            web.get("/v2/", version),
            web.post(f"{base}/blobs/uploads/", uploads.start),
            web.post(f"{base}/blobs/uploads", uploads.start),
            web.patch(session, uploads.patch),
            web.put(session, uploads.put),
            web.get(session, uploads.get, allow_head=False),
            web.delete(session, uploads.delete),
            web.get(f"{base}/blobs/{{digest}}", blobs.get),
            web.get(f"{base}/manifests/{{reference}}", manifests.get),
            web.put(f"{base}/manifests/{{reference}}", manifests.put),
            web.get(f"{base}/tags/list", tag_list),
            web.route("*", "/v2/{rest:.*}", refuse),
        ]
    )
