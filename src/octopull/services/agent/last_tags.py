"""What tags stood for last, for the time in which no tag index answers."""

import time
from collections import OrderedDict

from octopull.clients.tag_index import Resolution, TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Pending, Unavailable, UpstreamFailed
from octopull.kernel.names import TagName

TAGS_MAX = 100_000


class LastTags:
    """Resolves by ``tags``; what that said counts on for ``stale_s`` seconds, and is called stale.

    Kept in memory: an agent that starts anew knows nothing.
    """

    def __init__(self, tags: TagIndex, stale_s: float) -> None:
        self._tags = tags
        self._stale_s = stale_s
        self._known: OrderedDict[TagName, tuple[Digest, float]] = OrderedDict()

    async def resolution(self, name: TagName) -> Resolution:
        """As ``TagIndex.resolution``."""
        try:
            found = await self._tags.resolution(name)
        except NotFound:
            self._known.pop(name, None)
            raise
        except (Pending, UpstreamFailed):
            raise
        except Unavailable:
            digest, until_s = self._known.get(name, (None, 0.0))
            if digest is None or time.monotonic() >= until_s:
                raise
            return Resolution(digest, "no tag index answers")
        if self._stale_s > 0:
            self._known[name] = found.digest, time.monotonic() + self._stale_s
            self._known.move_to_end(name)
            while len(self._known) > TAGS_MAX:
                self._known.popitem(last=False)
        return found
