"""A folder as a store: each object a file under its key.

    root/<key>             the bytes, whole and durable
    root/~octopull/put/    on their way in; no key begins with a tilde
    root/~octopull/locks/  who may replace an object now, over all processes and hosts (flock)

Several processes may share the folder, also over NFS if it has locks. Symbolic links below the
root are not followed. A key and one below it, such as ``a`` and ``a/b``, exclude each other.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from types import EllipsisType
from typing import TypeVar, TypeVarTuple

from octopull.backends.contract import (
    ALL_FEATURES,
    CHUNK_BYTES_MAX,
    CONDITIONAL_BYTES_MAX,
    Content,
    Feature,
    Span,
    Stat,
)
from octopull.backends.folders import Arriving, Tree
from octopull.backends.key_order import Page, walk
from octopull.kernel.errors import Corrupt, InvalidName, InvalidRange, TooLarge, Unavailable
from octopull.storage.durable import disk_faults

LOCK_S = 10.0
LOCK_POLL_S = 0.01

_Arguments = TypeVarTuple("_Arguments")
_T = TypeVar("_T")


class Files:
    """``Objects`` in the folder ``root``, which must be there. Blocking work is done in threads."""

    features: frozenset[Feature] = ALL_FEATURES

    def __init__(self, root: Path) -> None:
        self._tree = Tree(root)
        self._swept = False

    async def stat(self, key: str) -> Stat:
        found = await _finished(self._tree.stat, self._tree.check(key))
        return Stat(found.st_size, self._tree.version(found))

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        fd = await _finished(self._tree.open, self._tree.check(key), undo=os.close)
        try:
            size = os.fstat(fd).st_size
            span = span or Span(0, size)
            if span.start < 0 or span.length < 0 or span.start + span.length > size:
                raise InvalidRange("the object has no such bytes", size=size)
            at, end = span.start, span.start + span.length
            while at < end:
                chunk = await _finished(_read, fd, min(CHUNK_BYTES_MAX, end - at), at)
                at += len(chunk)
                yield chunk
        finally:
            os.close(fd)

    async def put(self, key: str, content: Content) -> None:
        self._tree.check(key)
        async with self._arriving() as arriving:
            done = 0
            async with aclosing(content.chunks()) as chunks:
                async for chunk in chunks:
                    await _finished(arriving.write, chunk)
                    done += len(chunk)
            if done != content.size:
                raise Corrupt("the content is of another length than it says", size=content.size)
            await _finished(arriving.sync)
            await self._place(arriving, key, ...)

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        self._tree.check(key)
        if len(content) > CONDITIONAL_BYTES_MAX:
            raise TooLarge("too much for a conditional put", bytes_max=CONDITIONAL_BYTES_MAX)
        async with self._arriving() as arriving:
            await _finished(arriving.write, content)
            await _finished(arriving.sync)
            await self._place(arriving, key, expected)
            return self._tree.version(os.fstat(arriving.fd))

    async def delete(self, key: str) -> None:
        await _until_free(lambda: self._tree.remove(self._tree.check(key)))

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        folder = prefix[: prefix.rfind("/") + 1]
        try:
            self._tree.check(folder.removesuffix("/") or "root")
        except InvalidName:
            return []  # No key begins so.
        found: list[str] = []
        async with aclosing(walk(self._names, prefix, after)) as keys:
            async for key in keys:
                if len(found) == count:
                    break
                found.append(key)
        return found

    async def _names(self, folder: str, begin: str) -> Page:
        names = await _finished(self._tree.names, folder)
        return Page([name for name in names if name.rstrip("/") > begin], "")

    @asynccontextmanager
    async def _arriving(self) -> AsyncIterator[Arriving]:
        if not self._swept:
            self._swept = True
            await _finished(self._tree.sweep)
        arriving = await _finished(self._tree.arrive, undo=self._tree.discard)
        try:
            yield arriving
        finally:
            await _finished(self._tree.discard, arriving)

    async def _place(
        self, arriving: Arriving, key: str, expected: str | EllipsisType | None
    ) -> None:
        await _until_free(lambda: self._tree.place(arriving, key, expected))


def _read(fd: int, count: int, at: int) -> bytes:
    with disk_faults("reading an object"):
        chunk = os.pread(fd, count, at)
    if not chunk:
        raise Unavailable("the object was cut off while it was read")
    return chunk


async def _until_free(attempt: Callable[[], bool]) -> None:
    """``attempt`` again and again until it says True."""
    try:
        async with asyncio.timeout(LOCK_S):
            while not await _finished(attempt):  # noqa: ASYNC110 - others may be other processes
                await asyncio.sleep(LOCK_POLL_S)
    except TimeoutError:
        raise Unavailable(f"others have held the object's lock for {LOCK_S:g} s") from None


async def _finished(
    call: Callable[[*_Arguments], _T],
    *args: *_Arguments,
    undo: Callable[[_T], object] | None = None,
) -> _T:
    """What ``call`` returns, in a thread. If the caller gives up it is still waited for, since the
    descriptors that it works with are closed next, and ``undo`` is done to what it returned.
    """
    working = asyncio.ensure_future(asyncio.to_thread(call, *args))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([working])
        if not working.exception() and undo is not None:
            undo(working.result())
        raise
