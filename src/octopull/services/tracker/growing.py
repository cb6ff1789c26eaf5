"""Hashes of blobs that origins are still fetching: asked of an origin once, told to many agents."""

import asyncio
import time
from dataclasses import dataclass, field

from octopull.blob.metainfo import Growing
from octopull.clients.origin import OriginCluster
from octopull.kernel.digest import Digest

FRESH_S = 0.2
"""How long the hashes that are known count as all there are."""

UNUSED_S = 60.0
GROWTHS_MAX = 1000


@dataclass(slots=True)
class _Growth:
    """What is known of one blob; ``lock`` is held while an origin is asked."""

    told: Growing | None = None
    until_s: float = 0.0
    used_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def needs(self, first: int, now_s: float) -> bool:
        """Whether an origin must be asked for hashes from ``first`` on."""
        if self.told is None or self.told.known == self.told.outline.layout.count:
            return self.told is None
        return self.told.known <= first and now_s >= self.until_s


class Growths:
    """The growing metainfo of all blobs that agents follow."""

    def __init__(self, origins: OriginCluster) -> None:
        self._origins = origins
        self._growths: dict[Digest, _Growth] = {}

    async def hashes(self, namespace: str, digest: Digest, first: int) -> Growing:
        """Hashes of the pieces from ``first`` on, as far as they are known.

        Raises:
            NotFound: no origin has the blob, nor is fetching it. Unavailable: not all could be
                asked. Corrupt: one answered something else.

        """
        growth = self._growth(digest)
        async with growth.lock:
            if growth.needs(first, time.monotonic()):
                await self._learn(growth, namespace, digest)
        assert growth.told is not None
        first = min(first, growth.told.known)
        return Growing(growth.told.outline, first, growth.told.piece_hashes[first:])

    async def _learn(self, growth: _Growth, namespace: str, digest: Digest) -> None:
        known = growth.told
        try:
            more = await self._origins.hashes(
                namespace, digest, 0 if known is None else known.known
            )
        except BaseException:
            self._growths.pop(digest, None)
            raise
        if known is not None and known.outline == more.outline and more.first == known.known:
            more = Growing(more.outline, 0, known.piece_hashes + more.piece_hashes)
        elif more.first:
            # It is another fetch than the last one, and may be cut in other pieces.
            more = await self._origins.hashes(namespace, digest, 0)
        growth.told, growth.until_s = more, time.monotonic() + FRESH_S

    def _growth(self, digest: Digest) -> _Growth:
        now_s = time.monotonic()
        growth = self._growths.pop(digest, None) or _Growth()
        growth.used_s = now_s
        self._growths[digest] = growth
        for oldest in list(self._growths)[: max(1, len(self._growths) - GROWTHS_MAX)]:
            unused = self._growths[oldest].used_s < now_s - UNUSED_S
            if unused or len(self._growths) > GROWTHS_MAX:
                del self._growths[oldest]
        return growth
