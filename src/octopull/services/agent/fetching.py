"""One preheat carried out by one agent: what it needs, and how much of that is here."""

import asyncio

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.oci.manifests import MANIFEST_BYTES_MAX
from octopull.placement.heartbeats import Preheat
from octopull.registry.images import Content, contents
from octopull.runtime.tasks import each
from octopull.services.agent.blobs import Blobs

AT_ONCE = 2
"""Blobs on their way: a swarm fills a link, a second one its pauses; pulls come first."""

TRIES = 3
PAUSE_S = 2.0
STALL_S = 300.0
"""Without a byte for so long, up to twice that, a blob counts as failed."""


class Fetching:
    """Fetches all that a preheat names into the cache; ``bytes_total`` is 0 until it is known."""

    def __init__(self, blobs: Blobs, preheat: Preheat) -> None:
        self._blobs = blobs
        self._preheat = preheat
        self._arriving: set[Digest] = set()
        self._done_bytes = 0
        self.bytes_total = 0

    @property
    def bytes_done(self) -> int:
        """Bytes in the cache, and proven ones on their way there."""
        arriving = sum(self._blobs.arrived_bytes(digest) for digest in self._arriving)
        return min(self._done_bytes + arriving, self.bytes_total)

    async def run(self) -> None:
        """Until everything is in the cache; what is there already takes no time.

        Raises:
            Fault: something can't be had.

        """
        for left in reversed(range(TRIES)):
            try:
                await self._run()
            except Unavailable:
                if not left:
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def _run(self) -> None:
        self._arriving.clear()
        self._done_bytes = 0
        wanted = await self._wanted()
        self.bytes_total = sum(one.size for one in wanted)
        self._blobs.expect(self._preheat.namespace, [one.digest for one in wanted])
        await each(wanted, self._fetch_one, AT_ONCE)

    async def _wanted(self) -> list[Content]:
        namespace, digest = self._preheat.namespace, Digest.parse(self._preheat.digest)
        if self._preheat.blob:
            size = await self._blobs.size(namespace, digest)
            return [Content(digest, size, is_manifest=False)]

        async def read(manifest: Digest) -> bytes:
            return await self._blobs.read(namespace, manifest, MANIFEST_BYTES_MAX)

        return await contents(read, digest, self._preheat.platforms)

    async def _fetch_one(self, one: Content) -> None:
        self._arriving.add(one.digest)
        await self._fetch(one.digest)
        self._arriving.discard(one.digest)
        self._done_bytes += one.size

    async def _fetch(self, digest: Digest) -> None:
        """One blob; a download that others share goes on, even if this one gives up."""
        task = asyncio.ensure_future(self._blobs.fetch(self._preheat.namespace, digest))
        arrived = -1
        try:
            while not (await asyncio.wait({task}, timeout=STALL_S))[0]:
                before, arrived = arrived, self._blobs.arrived_bytes(digest)
                if arrived == before:
                    raise Unavailable(f"no byte of {digest} came for {STALL_S:.0f} s")
            await task
        finally:
            task.cancel()
