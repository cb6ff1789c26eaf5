"""Bodies into upload sessions: read from the network while the last slice is hashed and written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, TooLarge
from octopull.storage.uploads import Uploads

SLICE_BYTES = 1024 * 1024
"""Handed to a thread at once: long enough that hashing, not hand-over, is the cost."""

FLUSH_S = 0.05
"""Whoever waits for the bytes need not wait for a slice of a slow body to be full."""


class Body(Protocol):
    """Bytes as they come, such as a request's content."""

    def iter_any(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Taker:
    """Takes whole blobs of at most ``size_max`` bytes from other origins."""

    uploads: Uploads
    size_max: int

    async def take(
        self, body: Body, digest: Digest, *, lone: bool = False, touched_ns: int | None = None
    ) -> None:
        """Store ``body`` as ``digest``, durable when this returns; see ``Uploads.commit``.

        Raises:
            InvalidDigest: it has another. TooLarge: it is beyond the limit.

        """
        session = await asyncio.to_thread(self.uploads.start)
        try:
            await receive(body, self.uploads, session, 0, self.size_max)
            await asyncio.to_thread(
                self.uploads.commit, session, digest, lone=lone, touched_ns=touched_ns
            )
        finally:
            with contextlib.suppress(NotFound):
                await asyncio.to_thread(self.uploads.abort, session)


@dataclass(slots=True)
class _Slices:
    """Appends to a session, one slice at a time, while the next one gathers."""

    uploads: Uploads
    session: str
    size: int
    wrote: Callable[[int], Awaitable[None]] | None
    gathered: bytearray = field(default_factory=bytearray)
    writing: asyncio.Task[int] | None = None

    async def write(self) -> None:
        """Hand what has gathered to a thread, once the slice before is written."""
        await self.settle()
        self._hand_over()

    def _hand_over(self) -> None:
        slice_, self.gathered = self.gathered, bytearray()
        self.writing = asyncio.get_running_loop().create_task(self._append(self.size, slice_))
        self.size += len(slice_)

    async def _append(self, offset: int, slice_: bytearray) -> int:
        content = memoryview(slice_)
        size = await asyncio.to_thread(self.uploads.append, self.session, offset, content)
        if self.wrote is not None:
            await self.wrote(size)
        return size

    async def settle(self) -> None:
        """Until all that was handed over is written; raises what that failed of."""
        while self.writing is not None:
            writing = self.writing
            # Not awaited itself: whoever waits may be cancelled, and bytes must not be.
            await asyncio.wait([writing])
            if self.writing is writing:
                self.writing = None
            writing.result()

    async def flush(self) -> None:
        """Every so often, hand over what has gathered, if the last slice is written."""
        while True:
            await asyncio.sleep(FLUSH_S)
            if self.gathered and (self.writing is None or self.writing.done()):
                if self.writing is not None:
                    self.writing.result()
                self._hand_over()


async def receive(
    body: Body, uploads: Uploads, session: str, offset: int, size_max: int,
    wrote: Callable[[int], Awaitable[None]] | None = None,
) -> int:  # fmt: skip
    """Append ``body`` to ``session``, which must end at ``offset``; returns its new size.

    One slice is written while the next is read, so memory holds two, and a slow disk
    slows the client. If the client breaks off, what was written stays, to be resumed. ``wrote``
    is told the session's size after each slice; slices are shorter then, if bytes come slowly.

    Raises:
        InvalidRange: the session ends elsewhere. NotFound: no such session.
        TooLarge: beyond ``size_max`` bytes.

    """
    slices = _Slices(uploads, session, offset, wrote)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(slices.settle)
        if wrote is not None:
            flushing = asyncio.get_running_loop().create_task(slices.flush())
            stack.push_async_callback(_end, flushing)
        async for chunk in body.iter_any():
            slices.gathered += chunk
            if slices.size + len(slices.gathered) > size_max:
                raise TooLarge("the blob is beyond the limit", bytes_max=size_max)
            if len(slices.gathered) >= SLICE_BYTES:
                await slices.write()
    rest = bytes(slices.gathered)
    return await asyncio.to_thread(uploads.append, session, slices.size, rest)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel ``task``, unless it has failed."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
