"""Keys of a store that is a tree of folders, in the order that ``Objects.list`` promises.

A folder lists its names in order of bytes, in pages. Keys come in another: ``a-b`` is before
``a/b``, though ``a`` is before ``a-b``. So a folder waits until names that come before its keys
are through.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from heapq import heappop, heappush


@dataclass(frozen=True, slots=True)
class Page:
    """Names in one folder, in order, those of folders with a slash behind; ``last``: what the
    next page comes after, empty if there is none.
    """

    names: list[str]
    last: str


Names = Callable[[str, str], Awaitable[Page]]
"""Names within a folder (empty, or with a slash behind) that come after a name."""


async def walk(names: Names, prefix: str, after: str) -> AsyncGenerator[str, None]:
    """Keys that begin with ``prefix``, behind ``after``, in order of bytes."""
    folder = prefix[: prefix.rfind("/") + 1]
    async with aclosing(_keys(names, folder, prefix, after)) as keys:
        async for key in keys:
            yield key


async def _keys(names: Names, folder: str, prefix: str, after: str) -> AsyncGenerator[str, None]:
    begin = _before(folder, max(prefix, after))
    async with aclosing(_in_order(names, folder, begin)) as found:
        async for name in found:
            key = folder + name
            if not key.startswith(prefix):
                if key > prefix:
                    return
            elif not name.endswith("/"):
                if key > after:
                    yield key
            elif key > after or after.startswith(key):
                async with aclosing(_keys(names, key, prefix, after)) as keys:
                    async for below in keys:
                        yield below


async def _in_order(names: Names, folder: str, begin: str) -> AsyncGenerator[str, None]:
    """All names of ``folder`` behind ``begin``, those of folders where their keys belong."""
    waiting: list[str] = []
    while True:
        page = await names(folder, begin)
        for name in page.names:
            while waiting and waiting[0] < name.rstrip("/"):
                yield heappop(waiting)
            heappush(waiting, name)
        begin = page.last
        if not begin:
            break
    while waiting:
        yield heappop(waiting)


def _before(folder: str, key: str) -> str:
    """A name so that those after it in ``folder`` have all keys from ``key`` on."""
    if not key.startswith(folder):
        return ""
    name = key[len(folder) :].partition("/")[0]
    # The keys of a folder ``a`` come after ``a-b``.
    longer = (at for at in range(1, len(name)) if name[at] < "/")
    first = name[: next(longer, len(name))]
    if not first:
        return ""
    last = "." if first[-1] == "0" else chr(ord(first[-1]) - 1)  # No name has a slash.
    return f"{first[:-1]}{last}~"
