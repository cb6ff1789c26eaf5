"""What is to happen, in order of time, and among equals in order of being planned.

A heap of ten thousands of entries is slow to push to and to pop from. Here the future lies in
buckets of ``BUCKET_S`` that are plain lists, and only the bucket under way is a heap.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

BUCKET_S = 0.002

Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Agenda:
    """Calls at times (virtual seconds); ``now`` is the time of the one under way."""

    __slots__ = ("_bucket", "_buckets", "_current", "_numbers", "_sequence", "count", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self._sequence = 0
        self._bucket = 0
        self._current: list[Entry] = []
        self._buckets: dict[int, list[Entry]] = {}
        self._numbers: list[int] = []

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan ``call(*arguments)`` for ``when``, which does not lie in the past."""
        self._sequence += 1
        number = int(when / BUCKET_S)
        if number <= self._bucket:
            heappush(self._current, (when, self._sequence, call, arguments))
            return
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = []
            heappush(self._numbers, number)
        bucket.append((when, self._sequence, call, arguments))

    def step(self) -> bool:
        """Let the next thing happen; False if nothing is planned."""
        current = self._current
        while not current:
            if not self._numbers:
                return False
            self._bucket = heappop(self._numbers)
            self._current = current = self._buckets.pop(self._bucket)
            heapify(current)
        self.now, _, call, arguments = heappop(current)
        self.count += 1
        call(*arguments)
        return True
