"""Pushes under way: from keeping what a manifest leads to, until it is recorded or refused."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from octopull.kernel.errors import Unavailable

SETTLE_S = 120.0
"""No push takes longer: its client has given up by then."""


class Pushes:
    """Who is between keep and record, so that a collector can wait for them."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Event] = set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A push, for as long as the block runs; it keeps blobs within, not before."""
        ended = asyncio.Event()
        self._under_way.add(ended)
        try:
            yield
        finally:
            self._under_way.discard(ended)
            ended.set()

    def under_way(self) -> list[asyncio.Event]:
        """Of each push that runs now, what is set when it ends."""
        return list(self._under_way)


async def settled(pushes: Sequence[asyncio.Event]) -> None:
    """Wait until all of ``pushes`` ended.

    Raises:
        Unavailable: one goes on for longer than ``SETTLE_S``.

    """
    try:
        async with asyncio.timeout(SETTLE_S):
            for ended in pushes:
                await ended.wait()
    except TimeoutError as error:
        raise Unavailable("a push is under way for too long", seconds=SETTLE_S) from error
