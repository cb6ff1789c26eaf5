"""Wires a proxy: the registry API's table of routes in front of origins and tag index."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from octopull.clients.directory import Directory
from octopull.clients.membership import Watch
from octopull.clients.origin import OriginCluster
from octopull.clients.preheats import PreheatClient
from octopull.clients.tag_index import TagIndex
from octopull.config.services import ProxyConfig
from octopull.config.upstreams import names_of
from octopull.http.addresses import addresses_by
from octopull.http.client import among_services
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel.errors import Unsupported
from octopull.registry.access.private import Private
from octopull.registry.discovery import Discovery
from octopull.registry.entrance import entered
from octopull.registry.limits import Limits
from octopull.runtime.tasks import Tasks
from octopull.security.roles import Role
from octopull.services.proxy.blobs import BlobsApi
from octopull.services.proxy.manifests import ManifestsApi
from octopull.services.proxy.prefetch import Prefetcher
from octopull.services.proxy.prefetch_api import PrefetchApi
from octopull.services.proxy.repositories import Repositories
from octopull.services.proxy.rooms import Rooms
from octopull.services.proxy.uploads import UploadsApi

SILENCE_S = 30.0
"""How long a pull waits for an upstream that sends nothing."""


async def run(
    config: ProxyConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: the address can't be had.
        Misuse: a file of ``tls`` or ``access`` is wrong.

    """
    resolver = addresses_by(config.dns, config.origins, config.tag_indexes, config.trackers)
    async with among_services(Role.PROXY, config.tls, resolver) as (_, http), Tasks() as tasks:
        upstreams = names_of(config.upstreams)
        directory = Directory(config.dns, config.health.hysteresis)
        members = directory.members("origins", config.origins, config.weights, settles=True)
        origins = OriginCluster(
            http.to(Role.ORIGIN), members, config.replicas, upstreams=upstreams,
            patience_s=SILENCE_S,
        )  # fmt: skip
        tag_indexes = directory.members("tag_indexes", config.tag_indexes)
        tags = TagIndex(http.to(Role.TAG_INDEX), tag_indexes)
        app = application("proxy")
        watch = Watch("proxy", directory.clusters, config.health, http)
        watch.add_to(app)
        tasks.start(watch.run(), "check health")
        checks = [origins.ready, tags.ready]
        trackers = directory.members("trackers", config.trackers)
        await directory.follow(tasks)
        async with entered(app, config, tags, origins.read, "proxy") as (private, limits):
            _add_routes(app, origins, tags, config, private, limits)
            preheats = PreheatClient(http.to(Role.TRACKER), trackers)
            PrefetchApi(Prefetcher(origins, tags), preheats, upstreams).add_to(app, tasks)
            async with serve(
                app, "proxy", config.listen, checks, admin=config.admin,
                crowd_max=config.limits.connections_per_address,
            ) as listening:  # fmt: skip
                started(listening)
                await stop.wait()


def _add_routes(
    app: web.Application, origins: OriginCluster, tags: TagIndex, config: ProxyConfig,
    private: Private | None, limits: Limits,
) -> None:  # fmt: skip
    repositories = Repositories(origins, tags, to_be_held=private is not None)
    rooms = Rooms(tags, config.limits.upload_idle_s)
    uploads = UploadsApi(origins, repositories, config.chunk_bytes_min, private, limits, rooms)
    blobs = BlobsApi(origins, repositories, private)
    manifests = ManifestsApi(origins, tags, repositories, private, rooms)

    async def refuse(request: web.Request) -> web.Response:
        raise Unsupported("no such operation", method=request.method)

    base = "/v2/{repository:.+}"
    session = f"{base}/blobs/uploads/{{token}}"
    app.add_routes(
        [
            *Discovery(tags).routes(),
            web.post(f"{base}/blobs/uploads/", uploads.start),
            web.post(f"{base}/blobs/uploads", uploads.start),
            web.patch(session, uploads.patch),
            web.put(session, uploads.put),
            web.get(session, uploads.get, allow_head=False),
            web.delete(session, uploads.delete),
            web.get(f"{base}/blobs/{{digest}}", blobs.get),
            web.delete(f"{base}/blobs/{{digest}}", blobs.delete),
            web.get(f"{base}/manifests/{{reference}}", manifests.get),
            web.put(f"{base}/manifests/{{reference}}", manifests.put),
            web.delete(f"{base}/manifests/{{reference}}", manifests.delete),
            web.route("*", "/v2/{rest:.*}", refuse),
        ]
    )
