"""A second store that is written, too, and compared, and never read for users.

To move from one store to another: put the new one in the old one's shadow until what is compared
agrees, then swap them. What fails or differs in the shadow is logged and counted, and fails nobody.
"""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing

from octopull.backends.contract import BlobBackend, BlobName, Content
from octopull.kernel.errors import Fault, NotFound
from octopull.observability import logs, metrics
from octopull.runtime.tasks import Tasks

log = logs.get("backend")
PROVEN_BYTES_MAX = 1024 * 1024
"""Blobs up to this are read from the shadow and proven by their digests when they are read from
the first; of others only the sizes are compared."""

COMPARING_MAX = 16
"""Comparisons at once; what is asked for meanwhile is not compared."""


class Shadow:
    """The ``BlobBackend`` ``first`` with ``second`` in its shadow; comparing is work of ``tasks``."""

    def __init__(self, first: BlobBackend, second: BlobBackend, tasks: Tasks) -> None:
        self._first = first
        self._second = second
        self._tasks = tasks
        self._comparing = 0

    @property
    def name(self) -> str:
        """The first's."""
        return self._first.name

    @property
    def writable(self) -> bool:
        """Whether the first is."""
        return self._first.writable

    async def stat(self, blob: BlobName) -> int | None:
        """As the first's."""
        size = await self._first.stat(blob)
        self._compare(blob, size, prove=False)
        return size

    async def get(self, blob: BlobName, start: int = 0) -> AsyncGenerator[bytes, None]:
        """As the first's."""
        size = start
        async with aclosing(self._first.get(blob, start)) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                yield chunk
        self._compare(blob, size, prove=size <= PROVEN_BYTES_MAX)

    async def put(self, blob: BlobName, content: Content) -> None:
        """Into the first, then into the second."""
        await self._first.put(blob, content)
        await self._follow("put", blob, self._second.put(blob, content))

    async def delete(self, blob: BlobName) -> None:
        """From both."""
        await self._first.delete(blob)
        await self._follow("delete", blob, self._second.delete(blob))

    async def metainfo(self, blob: BlobName) -> bytes:
        """As the first's."""
        return await self._first.metainfo(blob)

    async def put_metainfo(self, blob: BlobName, encoded: bytes) -> None:
        """Beside both."""
        await self._first.put_metainfo(blob, encoded)
        await self._follow("put metainfo", blob, self._second.put_metainfo(blob, encoded))

    async def _follow(self, operation: str, blob: BlobName, work: Awaitable[None]) -> None:
        try:
            await work
        except Fault as fault:
            self._failed(operation, blob, fault)

    def _failed(self, operation: str, blob: BlobName, fault: Fault) -> None:
        metrics.SHADOW_FAILED.labels(self._second.name).inc()
        log.warning("shadow.failed", backend=self._second.name, operation=operation,
                    digest=blob.digest.short, reason=str(fault))  # fmt: skip

    # Comparing.

    def _compare(self, blob: BlobName, size: int | None, *, prove: bool) -> None:
        if self._comparing < COMPARING_MAX:
            self._comparing += 1
            self._tasks.start(self._look(blob, size, prove=prove), "compare with shadow")

    async def _look(self, blob: BlobName, size: int | None, *, prove: bool) -> None:
        try:
            differs = await self._difference(blob, size, prove=prove)
        except Fault as fault:
            self._failed("compare", blob, fault)
        else:
            outcome = differs or "same"
            metrics.SHADOW_COMPARED.labels(self._second.name, outcome).inc()
            if differs:
                log.warning("shadow.differs", backend=self._second.name,
                            digest=blob.digest.short, differs=differs)  # fmt: skip
        finally:
            self._comparing -= 1

    async def _difference(self, blob: BlobName, size: int | None, *, prove: bool) -> str:
        """What differs in the shadow: ``missing``, ``size``, ``bytes``; empty if nothing does."""
        try:
            found = await self._second.stat(blob)
            if None not in {size, found} and found != size:
                return "size"
            if prove and not await self._proven(blob):
                return "bytes"
        except NotFound:
            return "missing"
        return ""

    async def _proven(self, blob: BlobName) -> bool:
        seen, size = blob.digest.algorithm.hasher(), 0
        async with aclosing(self._second.get(blob)) as chunks:
            async for chunk in chunks:
                seen.update(chunk)
                size += len(chunk)
                if size > PROVEN_BYTES_MAX:
                    return False
        return seen.hexdigest() == blob.digest.hex
