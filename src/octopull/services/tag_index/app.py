"""Wires a tag index: its store, the origins it asks, and its HTTP API."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from octopull.backends import registry
from octopull.clients.keeping import OriginBlobs
from octopull.clients.origin import OriginCluster
from octopull.config.services import TagIndexConfig
from octopull.config.upstreams import names_of
from octopull.http.client import Http
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.api import Api
from octopull.services.tag_index.collecting import CollectionApi
from octopull.services.tag_index.collector import Collector, collect_every
from octopull.services.tag_index.pushes import Pushes
from octopull.services.tag_index.store import TagStore
from octopull.services.tag_index.upstream_tags import UpstreamTags


async def run(
    config: TagIndexConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: the address or the data folder can't be had.

    """
    store = await asyncio.to_thread(TagStore, Path(config.data) / "repositories.sqlite")
    try:
        async with (
            Http() as http,
            registry.connected(config.upstreams) as upstreams,
            Tasks() as tasks,
        ):
            origins = OriginCluster(http, config.origins, config.replicas, store.book)
            pushes = Pushes()
            sources = [OriginBlobs(http, host, store.book) for host in origins.hosts]
            collector = Collector(store, pushes, sources)
            fetching = OriginCluster(
                http, config.origins, config.replicas, upstreams=names_of(config.upstreams)
            )
            tags = UpstreamTags(store, fetching, origins, upstreams, tasks)
            app = application("tag_index")
            Api(store, origins, pushes, tags).add_to(app)
            CollectionApi(collector, config.gc).add_to(app)
            async with (
                serve(app, "tag_index", config.listen, [origins.ready]) as listening,
                # Collecting ends before pushes that are under way are broken off.
                Tasks() as collecting,
            ):
                if config.gc.every_s > 0:
                    again = collect_every(collector, config.gc.every_s, config.gc.grace_s)
                    collecting.start(again, "collect garbage")
                started(listening)
                await stop.wait()
    finally:
        store.close()
