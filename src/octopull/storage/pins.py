"""Who reads which blobs: a blob that is pinned stays."""

import threading
from collections import Counter

from octopull.kernel.digest import Digest


class Pins:
    """How many readers each blob has. Calls may come from any thread, and never wait for a disk."""

    def __init__(self) -> None:
        self._readers: Counter[Digest] = Counter()
        # Never held over the disk: readers end on threads that must not wait.
        self._lock = threading.Lock()

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._readers

    def add(self, digest: Digest) -> None:
        """One reader more."""
        with self._lock:
            self._readers[digest] += 1

    def drop(self, digest: Digest) -> None:
        """One reader fewer, who was added once."""
        with self._lock:
            self._readers[digest] -= 1
            if not self._readers[digest]:
                del self._readers[digest]
