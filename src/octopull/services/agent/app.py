"""Wires an agent: cache, peers, tracker, tag index, and its two HTTP APIs on one port."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from octopull.clients.binding import Binding
from octopull.clients.directory import Directory
from octopull.clients.preheats import PreheatClient
from octopull.clients.tag_index import TagIndex
from octopull.clients.tracker import AnnounceRequest, SwarmStatus, TrackerClient
from octopull.config.services import AgentConfig, CacheSettings
from octopull.http.addresses import addresses_by
from octopull.http.client import among_services
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel.errors import Fault
from octopull.kernel.peers import PeerKind
from octopull.observability import logs, metrics
from octopull.registry.entrance import entered
from octopull.runtime.identity import peer_id
from octopull.runtime.tasks import Tasks
from octopull.security.roles import Role
from octopull.services.agent.api import Api
from octopull.services.agent.blobs import Blobs
from octopull.services.agent.deletions import Deletions
from octopull.services.agent.last_tags import LastTags
from octopull.services.agent.preheat import Identity, Preheater
from octopull.services.agent.preload import Preloads
from octopull.services.agent.registry_api import RegistryApi
from octopull.storage import partial
from octopull.storage.disk import DiskStore
from octopull.storage.eviction import EvictionPolicy, disk_share, evict, partials_before_s
from octopull.storage.hot import HotStore
from octopull.transport.announcing import Introduction
from octopull.transport.bandwidth_api import add_bandwidth_routes
from octopull.transport.node import PeerNode, limits_of
from octopull.transport.swarm import Swarm

log = logs.get("agent")


async def run(
    config: AgentConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: an address or the data folder can't be had.
        Misuse: a file of ``tls`` or ``access`` is wrong.

    """
    root = Path(config.data)
    memory = config.cache.memory_bytes_max, config.cache.memory_blob_bytes_max
    store = await asyncio.to_thread(HotStore, root, *memory)
    resolver = addresses_by(config.dns, config.trackers, config.tag_indexes)
    async with among_services(Role.AGENT, config.tls, resolver) as (tls, http), Tasks() as tasks:
        directory = Directory(config.dns)
        trackers = directory.members("trackers", config.trackers)
        tag_indexes = directory.members("tag_indexes", config.tag_indexes)
        tags = TagIndex(http.to(Role.TAG_INDEX), tag_indexes)
        tracker = TrackerClient(http.to(Role.TRACKER), trackers, Binding(tls))
        await directory.follow(tasks)
        limits = limits_of(config.peer)
        blobs = Blobs(store, tracker, tasks, config.metainfo_wait_s, limits)

        async def introduce(swarms: Sequence[Swarm]) -> Introduction:
            reply = await tracker.announce(
                AnnounceRequest(peer=node.me, swarms=[_status(swarm) for swarm in swarms])
            )
            peers = {key: tuple(found) for key, found in reply.swarms.items()}
            return Introduction(reply.interval_s, peers)

        node = PeerNode(config.peer, peer_id(root), PeerKind.AGENT, blobs.find, introduce, tls)
        app = application("agent")
        async with node, entered(app, config, tags, blobs.read, "agent") as (private, _):
            blobs.attach(node)
            last_tags = LastTags(tags, config.stale_tags_s)
            deletions = Deletions(tags, blobs, config.deletions_s, root / "deletions.json")
            Api(blobs, last_tags, node, store, deletions, private).add_to(app)
            RegistryApi(blobs, tags, last_tags, deletions, private).add_to(app)
            add_bandwidth_routes(app, node.bandwidth)
            tasks.start(_evict(store, blobs, config.cache), "evict")
            tasks.start(deletions.follow(), "follow deletions")
            preloads = Preloads(tags, config.preload)
            preloads.add_to(app)
            checks = [tags.ready, tracker.ready]
            serving = serve(
                app, "agent", config.listen, checks, admin=config.admin,
                crowd_max=config.limits.connections_per_address,
            )  # fmt: skip
            async with Tasks() as preheating, serving as here:
                me = Identity(node.me.id, node.me.zone, config.labels, config.heartbeat_s)
                orders = PreheatClient(http.to(Role.TRACKER), trackers)
                Preheater(blobs, orders, me).start(preheating)
                preloads.listening(here)
                started(here.with_peer(node.me.port))
                await stop.wait()
            await blobs.close()


def _status(swarm: Swarm) -> SwarmStatus:
    return SwarmStatus(
        info_hash=swarm.outline.info_hash,
        digest=str(swarm.outline.digest),
        namespace=swarm.namespace,
        complete=swarm.engine.complete,
        wants=swarm.engine.wants,
    )


async def _evict(store: DiskStore, blobs: Blobs, cache: CacheSettings) -> None:
    policy = EvictionPolicy.of(cache)
    while True:
        try:
            for digest in await asyncio.to_thread(evict, store, policy, time.time()):
                metrics.BLOBS_EVICTED.inc()
                log.info("blob.evicted", digest=digest.short)
            before_s = partials_before_s(policy, *disk_share(store.root), time.time())
            for digest in blobs.drop_idle_partials(partial.idle(store, before_s)):
                log.info("partial.dropped", digest=digest.short)
        except (Fault, OSError) as error:
            log.warning("evict.failed", reason=str(error))
        await asyncio.sleep(cache.scan_s)
