"""Memory for piece bodies: reused, and bounded over all swarms of the process."""

from collections import deque
from collections.abc import Callable

from octopull.kernel.errors import Misuse

Grant = Callable[[bytearray], None]


class BufferPool:
    """Piece buffers within a budget; who comes when it is spent waits in line.

    Invariant: the capacities of all buffers, lent or kept, stay within ``bytes_max``.
    Calls come from the event loop's thread only.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._free: dict[int, list[bytearray]] = {}
        self._waiting: deque[tuple[int, Grant]] = deque()
        self._lent = False

    @property
    def bytes(self) -> int:
        """Capacity of all buffers that exist."""
        return self._bytes

    def request(self, capacity: int, grant: Grant) -> None:
        """Call ``grant`` with a buffer of ``capacity`` bytes, at once or when one is returned.

        Raises:
            Misuse: no budget would ever hold it.

        """
        if capacity > self._bytes_max:
            raise Misuse("buffer beyond the budget", capacity=capacity)
        self._waiting.append((capacity, grant))
        self._serve()

    def forget(self, grant: Grant) -> None:
        """Take a waiting ``grant`` out of the line; unknown ones are ignored."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] != grant)
        self._serve()

    def release(self, buffer: bytearray) -> None:
        """Give a buffer back; its memory is reused, so nobody may hold a view of it."""
        self._free.setdefault(len(buffer), []).append(buffer)
        self._serve()

    def trim(self) -> None:
        """Free what is kept, if no buffer was asked for since the last call."""
        if not self._lent:
            while self._drop_one():
                pass
        self._lent = False

    def _serve(self) -> None:
        while self._waiting:
            capacity, grant = self._waiting[0]
            buffer = self._take(capacity)
            if buffer is None:
                return
            self._waiting.popleft()
            grant(buffer)

    def _take(self, capacity: int) -> bytearray | None:
        self._lent = True
        kept = self._free.get(capacity)
        if kept:
            return kept.pop()
        while self._bytes + capacity > self._bytes_max:
            if not self._drop_one():
                return None
        self._bytes += capacity
        return bytearray(capacity)

    def _drop_one(self) -> bool:
        for size, buffers in self._free.items():
            if buffers:
                buffers.pop()
                self._bytes -= size
                return True
        return False
