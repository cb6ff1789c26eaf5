"""A large object on its way to an object store, in parts.

obstore reads the content from tasks of its own, which go on when the put is given up, and only a
reading that fails makes it tell the store to forget the parts that it has. So a put that is given
up ends the reading, and waits a little for that.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Self

from octopull.backends.contract import Content
from octopull.kernel.errors import Corrupt, Unavailable

PART_BYTES = 8 * 1024 * 1024
"""Smaller objects are put with one request, others in parts."""

PARTS_MAX = 10_000
"""What S3 and GCS allow; Azure allows more."""

PUT_BYTES_MAX = 64 * 1024 * 1024
"""Of one object's parts on their way at once, if one of them is not larger."""

ABORT_S = 2.0
"""How long a put that is given up waits until the store has forgotten its parts. A store that
does not answer keeps them until its own rules remove them."""


def parts_of(size: int) -> tuple[int, int]:
    """Bytes of each part of an object of ``size``, and how many parts are on their way at once."""
    part = max(PART_BYTES, -(-size // PARTS_MAX))
    return part, max(1, PUT_BYTES_MAX // part)


class Reading:
    """A content as obstore reads it, until it is ended."""

    def __init__(self, content: Content) -> None:
        self._chunks = checked(content)
        self._ending = asyncio.get_running_loop().create_future()
        self._step: asyncio.Task[bytes | None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._step = asyncio.create_task(self._next())
        await asyncio.wait({self._step, self._ending}, return_when=asyncio.FIRST_COMPLETED)
        if self._ending.done():
            raise Unavailable("the put was given up")
        chunk = self._step.result()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)

    async def end(self) -> None:
        """Let what is read fail from now on, and close the content. May be repeated."""
        if not self._ending.done():
            self._ending.set_result(None)
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})
            if not self._step.cancelled():
                self._step.exception()  # Known to ``__anext__``, if to anybody.
        await self._chunks.aclose()


async def put_parts(content: Content, put: Callable[[Reading], Awaitable[object]]) -> None:
    """Have ``put`` read and store all of ``content``.

    Raises:
        what ``content`` or ``put`` does.

    """
    reading = Reading(content)
    putting = asyncio.ensure_future(put(reading))
    # Where it fails after this has ended, nobody needs to know.
    putting.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.shield(putting)
    except asyncio.CancelledError:
        try:
            await reading.end()
            await asyncio.wait({putting}, timeout=ABORT_S)
        finally:
            putting.cancel()
        raise
    finally:
        await reading.end()


async def checked(content: Content) -> AsyncGenerator[bytes, None]:
    """The chunks of ``content``.

    Raises:
        Corrupt: they are of another length than it says; the last was not yielded then.

    """
    left = content.size
    async with aclosing(content.chunks()) as chunks:
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise Corrupt("the content is of another length than it says")
