"""What this origin holds, as the others of its ring ask for it.

What a backend has is left out: that is its other copy, and whoever evicted it means to.
"""

import asyncio
import itertools
import re
from collections.abc import Iterator

from aiohttp import web

from octopull.clients.holdings import PAGE, Fingerprints, Holding, Holdings, Kind, RingTold
from octopull.http.server import json_answer
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.placement.fingerprints import fingerprints
from octopull.services.origin.ring import Ring
from octopull.services.origin.write_back import WriteBack
from octopull.storage.disk import NS_PER_S, DiskStore
from octopull.storage.entry import Entry

OWED_MAX = 20
"""A page must stay short; a blob that many await has its tasks here, too."""

_SHELF = re.compile("[0-9a-f]{2}", re.ASCII)


def told(ring: Ring) -> RingTold:
    """``ring`` as origins tell each other: the same, in whatever order it was written."""
    now = ring.members.now
    return RingTold(origins=sorted(now.hosts), replicas=ring.replicas, weights=dict(now.weights))


class Inventory:
    """The blobs of ``store``, by who else of ``ring`` owns them."""

    def __init__(self, store: DiskStore, ring: Ring, write_back: WriteBack) -> None:
        self._store = store
        self._ring = ring
        self._write_back = write_back

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.add_routes(
            [
                web.get("/internal/ring", self._told_ring),
                web.get("/internal/fingerprints/{host}", self._fingerprints),
                web.get("/internal/holdings/{host}", self._holdings),
            ]
        )

    async def _told_ring(self, _: web.Request) -> web.Response:
        """The ring as this origin was told of it when it started."""
        return json_answer(told(self._ring))

    async def fingerprints(self, host: str) -> list[str]:
        """Of what both this origin and ``host`` own."""

        def find() -> list[str]:
            return fingerprints(entry.digest for entry in self._of(host, Kind.SHARED, "", None))

        return await asyncio.to_thread(find)

    def _of(self, host: str, kind: Kind, shelf: str, after: Digest | None) -> Iterator[Entry]:
        for digest in self._store.digests(after, shelf):
            line = self._ring.owners(digest)
            if host not in line or (self._ring.name in line) != (kind is Kind.SHARED):
                continue
            entry = self._store.entry(digest)
            if entry is not None and not entry.backed:
                yield entry

    async def _fingerprints(self, request: web.Request) -> web.Response:
        """Of what this origin and the one that asks both own."""
        return json_answer(Fingerprints(ranges=await self.fingerprints(self._asking(request))))

    async def _holdings(self, request: web.Request) -> web.Response:
        """A page of what the origin that asks owns, behind ``after``, of one ``shelf`` or all."""
        host, query = self._asking(request), request.query
        shelf, after = query.get("shelf", ""), query.get("after")
        if shelf and _SHELF.fullmatch(shelf) is None:
            raise Misuse("a shelf is two hexadecimal characters")
        if query.get("kind") not in list(Kind):
            raise Misuse("kind says which blobs", known=list(Kind))
        kind, behind = Kind(query["kind"]), None if after is None else Digest.parse(after)

        def page() -> list[Entry]:
            return list(itertools.islice(self._of(host, kind, shelf, behind), PAGE))

        entries = await asyncio.to_thread(page)
        owed = await self._write_back.owed([entry.digest for entry in entries])
        # A task that ended meanwhile has left its mark.
        backed = await asyncio.to_thread(
            lambda: {one.digest for one in entries if self._store.backed_under(one.digest)}
        )
        now_s = self._store.now_ns() / NS_PER_S
        blobs = [
            Holding(
                digest=str(entry.digest), size=entry.size, lone=entry.lone,
                untouched_s=now_s - entry.touched_s, owed=owed[entry.digest][:OWED_MAX],
            )
            for entry in entries
            if entry.digest not in backed
        ]  # fmt: skip
        full = len(entries) == PAGE
        return json_answer(Holdings(blobs=blobs, after=str(entries[-1].digest) if full else ""))

    def _asking(self, request: web.Request) -> str:
        host = request.match_info["host"]
        if host not in self._ring.hosts:
            raise NotFound("no such origin in the ring", host=host[:80])
        return host
