"""Prefetches: the origins are made to hold all of an image, before any host asks for it."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.kernel.names import TagName
from octopull.oci.manifests import MANIFEST_BYTES_MAX
from octopull.registry.images import Content, contents
from octopull.runtime.tasks import each

AT_ONCE = 4
PREFETCHES_MAX = 8
"""Prefetches under way; others wait for their turn."""

PREFETCH_S = 1800.0


@dataclass(frozen=True, slots=True)
class Window:
    """Which blobs a prefetch is about: those of ``min`` to ``max`` bytes. Manifests always are."""

    min: int = 0
    max: int = 1 << 53

    def holds(self, content: Content) -> bool:
        """Whether ``content`` is within."""
        return content.is_manifest or self.min <= content.size <= self.max


class Prefetcher:
    """Has the origins fetch everything that is elsewhere."""

    def __init__(self, origins: OriginCluster, tags: TagIndex) -> None:
        self._origins = origins
        self._tags = tags
        self._gate = asyncio.Semaphore(PREFETCHES_MAX)

    async def resolve(self, readings: Sequence[TagName]) -> tuple[str, Digest]:
        """Repository and digest of the first reading that is a tag.

        Raises:
            NotFound: none is. Unavailable: no tag index answers.

        """
        for name in readings:
            try:
                return name.repository, await self._tags.resolve(name)
            except NotFound:
                continue
        raise NotFound(f"no such tag: {readings[-1]}")

    async def prefetch(
        self,
        repository: str,
        digest: Digest,
        platforms: Collection[str] = (),
        window: Window | None = None,
    ) -> list[Content]:
        """All of the image that is within ``window``, once the origins hold it.

        Raises:
            NotFound: a part of it is nowhere. Unavailable: an origin or an upstream does not
                answer, or it takes too long.

        """

        async def read(manifest: Digest) -> bytes:
            return await self._origins.read(repository, manifest, MANIFEST_BYTES_MAX)

        try:
            async with asyncio.timeout(PREFETCH_S), self._gate:
                found = await contents(read, digest, platforms)
                wanted = [one for one in found if (window or Window()).holds(one)]
                blobs = [one.digest for one in wanted if not one.is_manifest]
                await each(blobs, partial(self._hold, repository), AT_ONCE)
        except TimeoutError as error:
            raise Unavailable(f"not all of it came within {PREFETCH_S:.0f} s") from error
        return wanted

    async def _hold(self, repository: str, digest: Digest) -> None:
        try:
            await self._origins.holders.hold(repository, digest)
        except NotFound as fault:
            raise NotFound(f"no origin has {digest}, which the image refers to") from fault
