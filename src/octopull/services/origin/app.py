"""Wires an origin: store, upload sessions, ring, seeds, and its HTTP API."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from octopull.backends import registry
from octopull.config.services import OriginConfig
from octopull.http.client import Http
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.kernel.errors import Fault
from octopull.kernel.peers import PeerKind
from octopull.observability import logs
from octopull.runtime.identity import peer_id
from octopull.runtime.tasks import Tasks
from octopull.services.origin.api import Api
from octopull.services.origin.books import Books
from octopull.services.origin.collecting import CollectionApi
from octopull.services.origin.copies import Copies
from octopull.services.origin.refresh import Refresh, Ring
from octopull.services.origin.refresh_api import RefreshApi
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads
from octopull.swarm.limits import Announces, Seeding
from octopull.swarm.messages import Handshake
from octopull.transport.bandwidth_api import add_bandwidth_routes
from octopull.transport.node import PeerNode, limits_of
from octopull.transport.seeds import Seeds
from octopull.transport.swarm import Swarm

log = logs.get("origin")
EXPIRE_EVERY_S = 600.0


async def run(
    config: OriginConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: an address or the data folder can't be had.

    """
    root = Path(config.data)
    store = await asyncio.to_thread(DiskStore, root)
    books = await asyncio.to_thread(Books, root / "books")
    uploads = Uploads(store)
    seeds = Seeds(store, limits_of(config.peer, Announces.NO, Seeding.SPARING))

    async def find(theirs: Handshake) -> Swarm | None:
        return await seeds.answer(node, theirs)

    node = PeerNode(config.peer, peer_id(root), PeerKind.ORIGIN, find, None)
    async with (
        Http() as http,
        registry.connected(config.upstreams) as upstreams,
        node,
        Tasks() as tasks,
    ):
        name = config.name or f"{config.listen.host}:{config.listen.port}"
        hosts = config.origins or [name]
        copies = Copies(http, store, hosts, name, config.replicas)
        refresh = Refresh(
            store, uploads, copies, upstreams, Ring(hosts, name), http, tasks,
            config.blob_bytes_max,
        )  # fmt: skip
        app = application("origin")
        Api(store, uploads, copies, node.me, config.blob_bytes_max).add_to(app)
        CollectionApi(store, books).add_to(app)
        RefreshApi(refresh).add_to(app)
        add_bandwidth_routes(app, node.bandwidth)
        tasks.start(_expire(uploads, config.upload_idle_s), "expire uploads")
        async with serve(app, "origin", config.listen) as listening:
            started(listening.with_peer(node.me.port))
            await stop.wait()
        seeds.close_all()


async def _expire(uploads: Uploads, idle_s: float) -> None:
    while True:
        try:
            await asyncio.to_thread(uploads.expire, idle_s)
        except (Fault, OSError) as error:
            log.warning("uploads.expire_failed", reason=str(error))
        await asyncio.sleep(EXPIRE_EVERY_S)
