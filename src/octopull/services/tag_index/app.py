"""Wires a tag index: its store, the origins it asks, and its HTTP API."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from octopull.clients.origin import OriginCluster
from octopull.config.services import TagIndexConfig
from octopull.http.client import Http
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.services.tag_index.api import Api
from octopull.services.tag_index.store import TagStore


async def run(
    config: TagIndexConfig, started: Callable[[Listening], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop``.

    Raises:
        Unavailable: the address or the data folder can't be had.

    """
    store = await asyncio.to_thread(TagStore, Path(config.data) / "tags.sqlite")
    try:
        async with Http() as http:
            origins = OriginCluster(http, config.origins, config.replicas)
            app = application("tag_index")
            Api(store, origins).add_to(app)
            async with serve(app, "tag_index", config.listen, [origins.ready]) as listening:
                started(listening)
                await stop.wait()
    finally:
        store.close()
