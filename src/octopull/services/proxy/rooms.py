"""Whether a repository's quotas have room for what is pushed, asked before it takes a place on disks.

The tag index decides when a blob or manifest is recorded. What nobody records must not fill the
disks either: so it is asked when an upload begins, again as soon as more has come than it allowed,
and before a session becomes a blob.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from octopull.clients.tag_index import MOVED_AT_HEADER, TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.observability import logs
from octopull.services.proxy.arriving import Arriving

log = logs.get("proxy")
UNLIMITED_S = 10.0
"""So long a repository without a quota is not asked about again."""

UNLIMITED_MAX = 10_000


def is_replicated(request: web.Request) -> bool:
    """Whether another cluster sends it: that counts, and is not refused (docs/limits.md)."""
    return MOVED_AT_HEADER in request.headers


class Rooms:
    """Asks ``tags``; remembers uploads that were heard of within ``idle_s`` seconds."""

    def __init__(self, tags: TagIndex, idle_s: float) -> None:
        self._tags = tags
        self._arriving = Arriving(idle_s)
        self._unlimited: OrderedDict[str, float] = OrderedDict()

    async def begin(self, repository: str) -> None:
        """An upload is about to begin.

        Raises:
            Denied: there is no room for a byte.

        """
        left = await self._ask(repository, {}, 0)
        if left and self._allowed(left, "") <= 0:
            await self._ask(repository, {}, self._beside(left, "") + 1)

    async def limits(self, repository: str) -> bool:
        """Whether the repository has a quota, or may have one."""
        return bool(await self._ask(repository, {}, 0))

    async def check(self, repository: str, sizes: Mapping[Digest, int]) -> None:
        """Raises Denied: what is about to be held, by its sizes in bytes, does not fit."""
        await self._ask(repository, sizes, 0)

    async def within(
        self, repository: str, session: str, offset: int, body: AsyncIterator[bytes],
        length: int | None,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """``body``, of ``length`` bytes if that is known, behind the first ``offset`` of ``session``.

        Raises:
            Denied: it is more than there is room for; if that is known, before a byte is read.

        """
        size, whole = offset, offset + (length or 0)
        left = await self._ask(repository, {}, whole)
        allowed = self._allowed(left, session)
        async for chunk in body:
            size += len(chunk)
            if left:
                self._arriving.heard(session, left, size, time.monotonic())
                if max(size, whole) > allowed:
                    more = max(size, whole) + self._beside(left, session)
                    left = await self._ask(repository, {}, more) or left
                    allowed = self._allowed(left, session)
            yield chunk

    def ended(self, session: str) -> None:
        """It is a blob now, or was given up."""
        self._arriving.ended(session)

    def _allowed(self, left: Mapping[str, int], session: str) -> int:
        """How long ``session`` may become as far as is known."""
        now = time.monotonic()
        return min(
            (room - self._arriving.beside(session, one, now) for one, room in left.items()),
            default=0,
        )

    def _beside(self, left: Mapping[str, int], session: str) -> int:
        now = time.monotonic()
        return max(self._arriving.beside(session, one, now) for one in left)

    async def _ask(
        self, repository: str, sizes: Mapping[Digest, int], more: int
    ) -> Mapping[str, int]:
        """By quota, how many bytes are left; nothing if there is none, or nobody can tell.

        Raises:
            Denied: ``sizes`` and ``more`` bytes do not fit.

        """
        now = time.monotonic()
        if now < self._unlimited.get(repository, 0.0):
            return {}
        try:
            left = await self._tags.room(repository, sizes, more)
        except NotFound:
            left = {}  # A tag index that knows no quotas.
        except Unavailable as fault:
            # Nothing is acknowledged, then, but what comes until it answers again is taken.
            log.warning("room.unknown", repository=repository, reason=str(fault))
            return {}
        if not left:
            self._unlimited[repository] = now + UNLIMITED_S
            self._unlimited.move_to_end(repository)
            if len(self._unlimited) > UNLIMITED_MAX:
                self._unlimited.popitem(last=False)
        return left
