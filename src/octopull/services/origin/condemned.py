"""Blobs that a backend is about to lose, since garbage collection takes them.

Whoever deletes one tells all origins first. Until it is done none of them says that the backend
has it: nobody refers to it, fetches it, or takes its write-back for done on the strength of that.
"""

import time
from collections.abc import Iterable

from octopull.kernel.digest import Digest

CONDEMNED_S = 60.0
"""How long the word counts: whoever gave it has deleted the blobs by then, or never will."""


class Condemned:
    """The digests condemned within the last ``CONDEMNED_S``. Calls from the loop alone."""

    def __init__(self) -> None:
        self._until_s: dict[Digest, float] = {}

    def __contains__(self, digest: Digest) -> bool:
        return self._until_s.get(digest, 0.0) > time.monotonic()

    def pardon(self, digests: Iterable[Digest]) -> None:
        """``digests`` were deleted, or will not be."""
        for digest in digests:
            self._until_s.pop(digest, None)

    def add(self, digests: Iterable[Digest]) -> None:
        """Condemn ``digests`` from now on."""
        now_s = time.monotonic()
        self._until_s = {one: until for one, until in self._until_s.items() if until > now_s}
        self._until_s |= dict.fromkeys(digests, now_s + CONDEMNED_S)
