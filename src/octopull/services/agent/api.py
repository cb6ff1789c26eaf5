"""The agent's own HTTP API: generic blobs and tags (Kraken's paths), and what it is doing."""

import asyncio

from aiohttp import web

from octopull.http.streams import send_blob
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.names import TagName
from octopull.registry.access.private import Private
from octopull.registry.pull_through import staleness
from octopull.services.agent.blobs import Blobs
from octopull.services.agent.deletions import Deletions
from octopull.services.agent.last_tags import LastTags
from octopull.storage.disk import DiskStore
from octopull.transport.node import PeerNode


class Api:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, blobs: Blobs, tags: LastTags, node: PeerNode, store: DiskStore,
        deletions: Deletions, private: Private | None,
    ) -> None:  # fmt: skip
        self._private = private
        self._deletions = deletions
        self._blobs = blobs
        self._tags = tags
        self._node = node
        self._store = store

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.add_routes(
            [
                web.get("/namespace/{namespace:.+}/blobs/{digest}", self.blob),
                web.get("/tags/{tag:.+}", self.tag),
                web.delete("/blobs/{digest}", self.delete),
                web.get("/status", self.status),
            ]
        )

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """Any blob, streamed while it arrives."""
        namespace = names.namespace(request.match_info["namespace"])
        digest = Digest.parse(request.match_info["digest"])
        headers = {"Content-Type": "application/octet-stream"}
        await self._deletions.check(namespace, digest)
        if self._private is not None:
            await self._private.check(request, namespace, digest)
            if request.method != "HEAD":
                await self._private.signed.check_blob(namespace, digest)
        if request.method == "HEAD":
            size = await self._blobs.size(namespace, digest)
            return web.Response(headers={**headers, "Content-Length": str(size)})
        async with self._blobs.open(namespace, digest) as source:
            return await send_blob(request, source, headers)

    async def tag(self, request: web.Request) -> web.Response:
        """The digest that ``repository:tag`` names, as text."""
        found = await self._tags.resolution(TagName.parse(request.match_info["tag"]))
        return web.Response(text=str(found.digest), headers=staleness(found.stale))

    async def delete(self, request: web.Request) -> web.Response:
        """Drop a blob from this host alone."""
        await self._blobs.delete(Digest.parse(request.match_info["digest"]))
        return web.Response(status=202)

    async def status(self, _: web.Request) -> web.Response:
        """What this host has, what it fetches, and from whom bytes came."""
        entries = await asyncio.to_thread(lambda: list(self._store.entries()))
        blobs = {
            str(entry.digest): {
                "digest": str(entry.digest), "size": entry.size,
                "have_bytes": entry.size, "state": "cached", "connections": 0,
            }
            for entry in entries
        }  # fmt: skip
        for swarm in self._blobs.swarms():
            engine, layout = swarm.engine, swarm.outline.layout
            blobs[str(swarm.outline.digest)] = {
                "digest": str(swarm.outline.digest), "size": layout.size,
                "have_bytes": swarm.have_bytes,
                "state": "seeding" if engine.complete else "downloading",
                "connections": engine.connections,
            }  # fmt: skip
        traffic = self._node.traffic
        return web.json_response(
            {
                "peer_id": self._node.me.id,
                "received": [
                    {"peer_id": row.peer_id, "kind": row.kind, "bytes": row.bytes}
                    for row in traffic.senders()
                ],
                "sent_bytes": traffic.sent_bytes,
                "wasted_bytes": traffic.wasted_bytes,
                "blobs": list(blobs.values()),
            }
        )
