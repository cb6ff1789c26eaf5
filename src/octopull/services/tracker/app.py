"""Wires a tracker: peer store, metainfo cache, and its HTTP API."""

import asyncio
import time
from collections.abc import Callable

from octopull.clients.binding import Binding
from octopull.clients.directory import Directory
from octopull.clients.membership import Watch
from octopull.clients.origin import OriginCluster
from octopull.config.services import TrackerConfig
from octopull.config.upstreams import names_of
from octopull.http.addresses import addresses_by
from octopull.http.client import among_services
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.placement.preheats import Preheats
from octopull.runtime.tasks import Tasks
from octopull.security.roles import Role
from octopull.services.tracker.api import Api
from octopull.services.tracker.growing import Growths
from octopull.services.tracker.peer_stores import PeerStore, opened
from octopull.services.tracker.preheats_api import PreheatsApi
from octopull.services.tracker.sources import MetainfoCache, OriginPeers


async def run(
    config: TrackerConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: the address can't be had.
        Misuse: as ``opened``; the files of ``tls`` are wrong.

    """
    resolver = addresses_by(config.dns, config.origins)
    async with (
        among_services(Role.TRACKER, config.tls, resolver) as (tls, http),
        opened(config) as peers,
        Tasks() as tasks,
    ):
        upstreams = names_of(config.upstreams)
        directory = Directory(config.dns, config.health.hysteresis)
        members = directory.members("origins", config.origins, config.weights, settles=True)
        origins = OriginCluster(http.to(Role.ORIGIN), members, config.replicas, upstreams=upstreams)
        binding = Binding(tls)
        cache = MetainfoCache(origins, config.metainfo_bytes_max, binding=binding)
        app = application("tracker")
        watch = Watch("tracker", directory.clusters, config.health, http)
        watch.add_to(app)
        tasks.start(watch.run(), "check health")
        Api(
            peers, cache, Growths(origins, binding), OriginPeers(origins), config.interval_s,
            config.handout_max, config.announced,
        ).add_to(app)  # fmt: skip
        preheats = Preheats(config.preheat_ttl_s, time.monotonic())
        PreheatsApi(preheats).add_to(app)
        tasks.start(_expire(peers, preheats, config.peer_ttl_s), "expire peers and preheats")
        await directory.follow(tasks)
        async with serve(app, "tracker", config.listen, [origins.ready], tls) as listening:
            started(listening)
            await stop.wait()


async def _expire(peers: PeerStore, preheats: Preheats, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        peers.expire(time.monotonic())
        preheats.expire(time.monotonic())
