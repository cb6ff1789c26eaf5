"""Wires an origin: store, upload sessions, ring, seeds, and its HTTP API."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from aiohttp import web

from octopull.backends import registry
from octopull.backends.opening import opened
from octopull.backends.registry_blobs import upstream_blobs
from octopull.clients.directory import Directory
from octopull.clients.membership import Watch
from octopull.config.services import CacheSettings, Listen, OriginConfig
from octopull.http.addresses import addresses_by
from octopull.http.client import Http, among_services
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.kernel.peers import PeerKind
from octopull.observability import logs
from octopull.runtime.identity import peer_id
from octopull.runtime.tasks import Tasks
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading
from octopull.security.roles import Role
from octopull.services.origin.api import Api
from octopull.services.origin.books import Books
from octopull.services.origin.caching import Caching
from octopull.services.origin.collecting import CollectionApi
from octopull.services.origin.copies import Copies
from octopull.services.origin.fetch import Fetcher
from octopull.services.origin.inventory import Inventory
from octopull.services.origin.leaving import Leaving
from octopull.services.origin.refresh import Refresh
from octopull.services.origin.refresh_api import RefreshApi
from octopull.services.origin.repair import Repair
from octopull.services.origin.ring import Ring
from octopull.services.origin.scrub import Scrub
from octopull.services.origin.sealing import Sealing
from octopull.services.origin.sources import Sources
from octopull.services.origin.strays import Strays
from octopull.services.origin.uploads import Taker
from octopull.services.origin.write_back import WriteBack
from octopull.services.origin.write_back_api import WriteBackApi
from octopull.storage.disk import DiskStore
from octopull.storage.hot import HotStore
from octopull.storage.task_queue import TaskQueue
from octopull.storage.uploads import Uploads
from octopull.swarm.limits import Announces, Seeding
from octopull.swarm.messages import Handshake, Reason
from octopull.transport.bandwidth_api import add_bandwidth_routes
from octopull.transport.node import PeerNode, limits_of
from octopull.transport.seeds import Seeds
from octopull.transport.swarm import Swarm

log = logs.get("origin")
EXPIRE_EVERY_S = 600.0


class Routes(Protocol):
    """Some of the paths that an origin serves."""

    def add_to(self, app: web.Application) -> None: ...


async def run(
    config: OriginConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: an address or the data folder can't be had. Misuse: ``tls`` is wrong.

    """
    root = Path(config.data)
    store = await asyncio.to_thread(_store, root, config.cache)
    books = await asyncio.to_thread(Books, root / "books")
    uploads, resolver = Uploads(store), addresses_by(config.dns, config.origins)
    seeds = Seeds(store, limits_of(config.peer, Announces.NO, Seeding.SPARING))

    async def find(theirs: Handshake) -> Swarm | None:
        swarm = await seeds.answer(node, theirs)
        if swarm is None:
            refresh.want(theirs.namespace, theirs.digest)
        return swarm

    async with (
        among_services(Role.ORIGIN, config.tls, resolver) as (tls, pool),
        registry.connected(config.upstreams) as upstreams,
        opened(config.backends) as backends,
        TaskQueue(root / "write-back.sqlite") as queue,
        Tasks() as tasks,
    ):
        http = pool.to(Role.ORIGIN)
        node = PeerNode(config.peer, peer_id(root), PeerKind.ORIGIN, find, None, tls)
        ring, watch = await _known(config, pool, tasks)
        copies = Copies(http, store, ring)
        fetched = {one: upstream_blobs(upstream) for one, upstream in upstreams.items()}
        sources = Sources(fetched, backends.of)
        grow = functools.partial(seeds.grow, node)
        fetcher = Fetcher(store, uploads, grow, config.blob_bytes_max)
        refresh = Refresh(store, fetcher, copies, sources, ring, http, tasks)
        write_back = WriteBack(queue, store, ring, sources, config.backends, config.write_back)
        await write_back.start(tasks)
        leaving = Leaving(write_back, store, copies, refresh, sources)
        taker = Taker(uploads, config.blob_bytes_max)
        inventory = Inventory(store, ring, write_back)
        repair = Repair(http, store, taker, ring, inventory, write_back, config.repair)
        for title, work in {
            "repair": repair.run(),
            "clear strays": Strays(http, store, ring, queue, config.repair).run(),
            "scrub": _scrub(config, store, seeds, repair).run(),
            "check health": watch.run(),
            "evict": Caching(store, leaving, config.cache).run(),
            "expire uploads": _expire(uploads, config.upload_idle_s),
        }.items():
            tasks.start(work, title)
        apis: list[Routes] = [
            Api(store, taker, ring, copies, refresh, write_back, node, Sealing(tls)), inventory,
            CollectionApi(store, books, copies, leaving, write_back), RefreshApi(refresh),
            WriteBackApi(write_back), watch,
        ]  # fmt: skip
        async with node:
            await _serve(apis, node, config.listen, tls, started, stop)
            seeds.close_all()


def _store(root: Path, cache: CacheSettings) -> HotStore:
    return HotStore(root, cache.memory_bytes_max, cache.memory_blob_bytes_max)


async def _known(config: OriginConfig, pool: Http, tasks: Tasks) -> tuple[Ring, Watch]:
    """The ring as it is known now, and is followed in ``tasks``; and what looks who is up."""
    name = config.name or f"{config.listen.host}:{config.listen.port}"
    directory = Directory(config.dns, config.health.hysteresis)
    members = directory.members(
        "origins", config.origins or [name], config.weights, me=name, settles=True
    )
    await directory.follow(tasks)
    watch = Watch("origin", directory.clusters, config.health, pool, name)
    return Ring(members, name, config.replicas), watch


async def _serve(
    apis: Sequence[Routes], node: PeerNode, listen: Listen, tls: Reloading[Mutual] | None,
    started: Callable[[Listening], None], stop: asyncio.Event,
) -> None:  # fmt: skip
    app = application("origin")
    for api in apis:
        api.add_to(app)
    add_bandwidth_routes(app, node.bandwidth)
    async with serve(app, "origin", listen, tls=tls) as listening:
        started(listening.with_peer(node.me.port))
        await stop.wait()


def _scrub(config: OriginConfig, store: DiskStore, seeds: Seeds, repair: Repair) -> Scrub:
    loop = asyncio.get_running_loop()

    def damaged(digest: Digest) -> None:
        seeds.close(digest, Reason.SHUTDOWN)
        repair.soon()

    def found(digest: Digest) -> None:
        loop.call_soon_threadsafe(damaged, digest)

    # Also whoever asks for a blob may find it damaged, in some thread.
    store.on_damaged = found
    return Scrub(store, config.scrub_bytes_per_s)


async def _expire(uploads: Uploads, idle_s: float) -> None:
    while True:
        try:
            await asyncio.to_thread(uploads.expire, idle_s)
        except (Fault, OSError) as error:
            log.warning("uploads.expire_failed", reason=str(error))
        await asyncio.sleep(EXPIRE_EVERY_S)
