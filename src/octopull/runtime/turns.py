"""What must not be done twice at once, by what it is done to."""

import asyncio
import weakref
from collections.abc import Hashable


class Turns:
    """Work on the same thing excludes each other."""

    def __init__(self) -> None:
        self._locks: weakref.WeakValueDictionary[Hashable, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    def of(self, thing: Hashable) -> asyncio.Lock:
        """The lock of one thing, the same as long as anybody holds it or waits."""
        return self._locks.setdefault(thing, asyncio.Lock())
