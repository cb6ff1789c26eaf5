"""Values in memory by digest, within a budget of bytes."""

from collections import OrderedDict
from typing import Generic, TypeVar

from octopull.kernel.digest import Digest

V = TypeVar("V")


class MemoryCache(Generic[V]):
    """The values used last; the least recently used go beyond ``bytes_max``.

    Invariant: the sizes of what is kept add up to at most ``bytes_max``. A value that is larger
    by itself is not kept, and drives nothing out.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Digest, tuple[V, int]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Sizes of all that is kept."""
        return self._bytes

    def get(self, digest: Digest) -> V | None:
        """The value, which counts as used now."""
        entry = self._kept.get(digest)
        if entry is None:
            return None
        self._kept.move_to_end(digest)
        return entry[0]

    def peek(self, digest: Digest) -> V | None:
        """The value, which does not count as used."""
        entry = self._kept.get(digest)
        return None if entry is None else entry[0]

    def put(self, digest: Digest, value: V, size: int) -> None:
        """Keep ``value`` of ``size`` bytes in place of an earlier one."""
        self.drop(digest)
        if size > self._bytes_max:
            return
        self._kept[digest] = (value, size)
        self._bytes += size
        while self._bytes > self._bytes_max:
            self.drop(next(iter(self._kept)))

    def drop(self, digest: Digest) -> None:
        """Forget the value; unknown ones are ignored."""
        entry = self._kept.pop(digest, None)
        if entry is not None:
            self._bytes -= entry[1]

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._kept
