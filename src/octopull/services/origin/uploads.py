"""Bodies into upload sessions: read from the network while the last slice is hashed and written."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from octopull.kernel.errors import TooLarge
from octopull.storage.uploads import Uploads

SLICE_BYTES = 1024 * 1024
"""Handed to a thread at once: long enough that hashing, not hand-over, is the cost."""


class Body(Protocol):
    """Bytes as they come, such as a request's content."""

    def iter_any(self) -> AsyncIterator[bytes]: ...


async def receive(body: Body, uploads: Uploads, session: str, offset: int, size_max: int) -> int:
    """Append ``body`` to ``session``, which must end at ``offset``; returns its new size.

    One slice is written while the next is read, so memory holds two, and a slow disk
    slows the client. If the client breaks off, what was written stays, to be resumed.

    Raises:
        InvalidRange: the session ends elsewhere. NotFound: no such session.
        TooLarge: beyond ``size_max`` bytes.

    """
    size = offset
    writing: asyncio.Task[int] | None = None
    slice_ = bytearray()
    try:
        async for chunk in body.iter_any():
            slice_ += chunk
            if size + len(slice_) > size_max:
                raise TooLarge("the blob is beyond the limit", bytes_max=size_max)
            if len(slice_) >= SLICE_BYTES:
                if writing is not None:
                    await writing
                writing = _write(uploads, session, size, slice_)
                size += len(slice_)
                slice_ = bytearray()
    finally:
        if writing is not None:
            await writing
    return await asyncio.to_thread(uploads.append, session, size, bytes(slice_))


def _write(uploads: Uploads, session: str, offset: int, slice_: bytearray) -> asyncio.Task[int]:
    work = asyncio.to_thread(uploads.append, session, offset, memoryview(slice_))
    return asyncio.get_running_loop().create_task(work)
