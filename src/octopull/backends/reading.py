"""Large objects in several ranges at once, given on in order.

A single stream from an object store is often far slower than the link: S3 gives some 100 MB/s.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from octopull.backends.contract import Objects, Span
from octopull.kernel.errors import Corrupt

RANGE_BYTES = 8 * 1024 * 1024
"""Memory holds as many of these as there are streams."""


class _Range:
    """One range on its way into memory."""

    def __init__(self, objects: Objects, key: str, span: Span) -> None:
        self._span = span
        # No longer than its range.
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        work = self._fill(objects.get(key, span))
        self.filling = asyncio.get_running_loop().create_task(work, name=f"read {key}")

    async def _fill(self, body: AsyncGenerator[bytes, None]) -> None:
        missing = self._span.length
        try:
            async with aclosing(body) as chunks:
                async for chunk in chunks:
                    missing -= len(chunk)
                    if missing < 0:
                        break
                    self._chunks.put_nowait(chunk)
            if missing:
                raise Corrupt("the store sent another length than was asked for")
        finally:
            self._chunks.put_nowait(None)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Its bytes as they come."""
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        await self.filling


async def read_ahead(
    objects: Objects, key: str, span: Span, streams: int
) -> AsyncGenerator[bytes, None]:
    """The bytes of ``span`` in order, as they come by up to ``streams`` requests at once.

    Raises:
        as ``Objects.get``. Corrupt: the store sent another length.

    """
    if streams == 1:
        async with aclosing(objects.get(key, span)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    at, end = span.start, span.start + span.length
    ranges: deque[_Range] = deque()
    try:
        while at < end or ranges:
            while at < end and len(ranges) < streams:
                part = Span(at, min(RANGE_BYTES, end - at))
                ranges.append(_Range(objects, key, part))
                at += part.length
            async with aclosing(ranges[0].chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
            ranges.popleft()
    finally:
        for one in ranges:
            one.filling.cancel()
        await asyncio.gather(*(one.filling for one in ranges), return_exceptions=True)
