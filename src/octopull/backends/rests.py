"""When a store that fails is asked again: after growing rests, by one probe at a time.

For background work that can wait. What users wait for has deadlines of its own
(backends/deadlines.py).
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from octopull.runtime.tasks import happens

FAILURES_MAX = 3
"""Failures in a row before the store rests: what fails may be one blob, not the store."""


class Rests:
    """The state of one store, in one event loop. Rests double from ``rest_s`` to ``rest_s_max``."""

    def __init__(self, rest_s: float, rest_s_max: float) -> None:
        self._rest_s = rest_s
        self._rest_s_max = rest_s_max
        self._failures = 0
        self._until_s = 0.0
        self._probing = False
        self._changed = asyncio.Event()
        self.failing = ""
        """Why the store rests; empty if it doesn't."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the store may be asked; within the block say ``worked`` or ``failed``."""
        while self.failing:
            left_s = self._until_s - time.monotonic()
            if left_s <= 0 and not self._probing:
                break
            changed = self._changed
            await happens(changed, left_s if left_s > 0 else None)
        probe = bool(self.failing)
        self._probing = self._probing or probe
        try:
            yield
        finally:
            if probe:
                self._probing = False
                self._tell()

    def worked(self) -> None:
        """The store answered."""
        if self._failures:
            self._failures, self.failing = 0, ""
            self._tell()

    def failed(self, reason: str, rests_s: float = 0.0) -> None:
        """The store failed, and asks to be left alone for ``rests_s``."""
        now_s = time.monotonic()
        if self.failing and now_s < self._until_s:
            return  # Asked before the others' failures were known.
        self._failures += 1
        if self._failures >= FAILURES_MAX or rests_s > 0:
            doublings = min(max(0, self._failures - FAILURES_MAX), 30)
            rest_s = min(self._rest_s * 2**doublings, self._rest_s_max)
            # Not all origins at the same moment.
            self._until_s = now_s + max(rests_s, rest_s * random.uniform(0.75, 1.25))
            self.failing = reason
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
