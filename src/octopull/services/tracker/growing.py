"""Hashes of blobs that origins are still fetching: asked of an origin once, told to many agents.

They are kept and passed on in the parts in which an origin told them: each has a seal of its own.
"""

import asyncio
import math
import time
from dataclasses import dataclass, field
from itertools import pairwise

from octopull.blob.metainfo import Growing
from octopull.blob.outline import Outline
from octopull.blob.start import Sealed, plain
from octopull.clients.binding import Binding
from octopull.clients.origin import OriginCluster
from octopull.kernel.digest import Digest

FRESH_S = 0.2
"""How long the hashes that are known count as all there are."""

UNUSED_S = 60.0
GROWTHS_MAX = 1000

PARTS_MAX = 16
"""More are asked for in one again: who comes late need not prove a hundred seals."""

Part = Growing | Sealed


@dataclass(frozen=True, slots=True)
class Growth:
    """What is known of one blob: hashes from its first piece on, then those that came since.

    Invariants, checked by ``validate``: parts of ``tail`` follow each other, and ``base`` goes at
    least as far as the first of them begins.
    """

    base: Part
    tail: tuple[Part, ...] = ()

    @property
    def outline(self) -> Outline:
        """The blob's."""
        return _growing(self.base).outline

    @property
    def known(self) -> int:
        """Pieces whose hashes are known."""
        return _growing(self.tail[-1] if self.tail else self.base).known

    @property
    def whole(self) -> bool:
        """Whether that is all of them."""
        return self.known == self.outline.layout.count

    @property
    def is_scattered(self) -> bool:
        """Whether it is time for another base."""
        return len(self._beyond(_growing(self.base).known)) >= PARTS_MAX

    def _beyond(self, piece: int) -> list[Part]:
        return [one for one in self.tail if _growing(one).known > piece]

    def behind(self, first: int) -> list[Part]:
        """Parts that tell of all pieces from ``first`` on, and of few before."""
        if self.tail and first >= _growing(self.tail[0]).first:
            return self._beyond(first)
        base = _growing(self.base)
        return [self.base, *self._beyond(base.known)] if base.known > first else []

    def joined(self, first: int) -> Growing:
        """The hashes from ``first`` on, in one and without a seal."""
        hashes = list(_growing(self.base).piece_hashes)
        for part in map(_growing, self.tail):
            hashes += (
                part.piece_hashes[len(hashes) - part.first :] if part.known > len(hashes) else ()
            )
        first = min(first, len(hashes))
        return Growing(self.outline, first, tuple(hashes[first:]))

    def and_then(self, more: Part) -> "Growth | None":
        """With ``more`` behind; None if that does not fit: it is another fetch than before."""
        told = _growing(more)
        if told.outline != self.outline or told.first != self.known:
            return None
        return Growth(self.base, (*self.tail, more)) if told.piece_hashes else self

    def on(self, base: Part) -> "Growth":
        """What ``base`` tells, and for those who follow what came lately."""
        if _growing(base).outline != self.outline or _growing(base).known < self.known:
            return Growth(base)
        return Growth(base, self.tail[-PARTS_MAX:])

    def validate(self) -> None:
        """Assert the class invariants."""
        at = _growing(self.base).known
        for part in map(_growing, self.tail):
            assert part.first <= at
            at = part.known
        for before, after in pairwise(map(_growing, self.tail)):
            assert before.known == after.first


def _growing(part: Part) -> Growing:
    found = plain(part)
    assert isinstance(found, Growing)
    return found


@dataclass(slots=True)
class _Kept:
    """A blob's growth, which counts until ``ends_at`` (Unix time); ``lock``: an origin is asked."""

    growth: Growth | None = None
    ends_at: float = math.inf
    until_s: float = 0.0
    used_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def needs(self, first: int, now_s: float) -> bool:
        """Whether an origin must be asked for hashes from ``first`` on."""
        if self.growth is None or self.growth.whole:
            return self.growth is None
        return self.growth.known <= first and now_s >= self.until_s


class Growths:
    """The growing metainfo of all blobs that agents follow."""

    def __init__(self, origins: OriginCluster, binding: Binding) -> None:
        self._origins = origins
        self._binding = binding
        self._kept: dict[Digest, _Kept] = {}

    async def of(self, namespace: str, digest: Digest, first: int) -> Growth:
        """What is known of a blob; asked of an origin if there may be more from ``first`` on.

        Raises:
            NotFound: no origin has the blob, nor is fetching it. Unavailable: not all could be
                asked. Corrupt: one answered something else.

        """
        kept = self._of(digest)
        async with kept.lock:
            if self._binding.now_s() >= kept.ends_at:
                kept.growth, kept.ends_at = None, math.inf
            if kept.needs(first, time.monotonic()):
                await self._learn(kept, namespace, digest)
        assert kept.growth is not None
        return kept.growth

    async def _learn(self, kept: _Kept, namespace: str, digest: Digest) -> None:
        known, grown = kept.growth, None
        try:
            if known is not None:
                grown = known.and_then(await self._ask(kept, namespace, digest, known.known))
            if grown is None:
                grown = Growth(await self._ask(kept, namespace, digest, 0))
            elif grown.is_scattered:
                grown = grown.on(await self._ask(kept, namespace, digest, 0))
        except BaseException:
            self._kept.pop(digest, None)
            raise
        kept.growth, kept.until_s = grown, time.monotonic() + FRESH_S

    async def _ask(self, kept: _Kept, namespace: str, digest: Digest, first: int) -> Part:
        told = await self._origins.hashes(namespace, digest, first)
        part, ends_at = await self._binding.checked(told)
        kept.ends_at = min(kept.ends_at, ends_at)
        assert isinstance(part, Growing | Sealed)
        return part

    def _of(self, digest: Digest) -> _Kept:
        now_s = time.monotonic()
        kept = self._kept.pop(digest, None) or _Kept()
        kept.used_s = now_s
        self._kept[digest] = kept
        for oldest in list(self._kept)[: max(1, len(self._kept) - GROWTHS_MAX)]:
            unused = self._kept[oldest].used_s < now_s - UNUSED_S
            if unused or len(self._kept) > GROWTHS_MAX:
                del self._kept[oldest]
        return kept
