"""One blob from the origins of this cluster to a remote, unless it is there already."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from octopull.backends import registry_changes
from octopull.backends.registry import RemoteRegistry
from octopull.backends.registry_place import Place
from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import REPLICATED
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable, UpstreamFailed
from octopull.observability import logs
from octopull.replication.book import Book
from octopull.replication.rules_file import RulesFile
from octopull.runtime.turns import Turns

log = logs.get("replication")
CHUNK_BYTES = 64 * 1024
BREAKS_MAX = 5
"""How often an origin may break off a blob, one after the other."""

PAUSE_S = 0.1
"""After the first break; after each that follows, twice as long."""


@contextmanager
def by_us() -> Iterator[None]:
    """What the origins can't fetch themselves is no fault of the remote."""
    try:
        yield
    except UpstreamFailed as fault:
        raise Unavailable(f"the origins: {fault}") from fault


class OriginBlob:
    """A blob as the ``Content`` of a push, from whichever origin has it."""

    def __init__(self, origins: OriginCluster, namespace: str, digest: Digest, size: int) -> None:
        self._origins = origins
        self._namespace = namespace
        self._digest = digest
        self._size = size

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._size

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """All of them, not proven: the remote does that."""
        return self.chunks_from(0)

    async def chunks_from(self, start: int) -> AsyncGenerator[bytes, None]:
        """Those from ``start`` on.

        Raises:
            NotFound, Unavailable: the origins do not give them.

        """
        at, breaks = start, 0
        while at < self._size:
            before = at
            try:
                async with aclosing(self._connection(at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        yield chunk
            except Unavailable:
                breaks = 0 if at > before else breaks + 1
                if breaks >= BREAKS_MAX:
                    raise
                await asyncio.sleep(PAUSE_S * 2**breaks)

    async def _connection(self, start: int) -> AsyncGenerator[bytes, None]:
        left = self._size - start
        with by_us():
            span = start, left
            async with self._origins.holders.stream(
                self._namespace, self._digest, span
            ) as response:
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    left -= len(chunk)
                    yield chunk
        if left > 0:
            raise Unavailable("an origin broke off a blob", digest=str(self._digest))


class BlobHints:
    """What the book knows of one blob's push to a remote, by the names that repositories have here."""

    def __init__(
        self, book: Book, file: RulesFile, place: Place, repository: str, digest: Digest
    ) -> None:
        self._book = book
        self._file = file
        self._place = place
        self._about = repository, digest

    async def mount_from(self) -> str:
        others = await self._book.elsewhere(*self._about)
        routed = (one for one in others if self._file.rules.route(one, self._place.name))
        return next(map(self._place.repository, routed), "")

    async def left(self) -> str:
        return await self._book.left(self._place.name, *self._about)

    async def leave(self, session: str) -> None:
        await self._book.leave(self._place.name, *self._about, session)


class BlobCopies:
    """Blobs to one remote; two that need the same one wait for each other."""

    def __init__(
        self, registry: RemoteRegistry, origins: OriginCluster, book: Book, file: RulesFile
    ) -> None:
        self._registry = registry
        self._origins = origins
        self._book = book
        self._file = file
        self._turns = Turns()

    async def copy(self, repository: str, digest: Digest) -> None:
        """Let the remote have a blob of ``repository``.

        Raises:
            NotFound: no origin has it. Unsupported: the remote won't have it.
            Unavailable: the origins, or (``UpstreamFailed``) the remote.

        """
        place = self._registry.place
        async with self._turns.of(digest):
            if await self.has(repository, digest):
                return
            with by_us():
                size = await self._origins.stat(repository, digest)
            await registry_changes.push_blob(
                self._registry, place.repository(repository), digest,
                OriginBlob(self._origins, repository, digest, size),
                BlobHints(self._book, self._file, place, repository, digest), REPLICATED,
            )  # fmt: skip
        log.info("blob.replicated", remote=place.name, digest=digest.short, size=size)

    async def has(self, repository: str, digest: Digest) -> bool:
        """Whether the remote has it."""
        there = self._registry.place.repository(repository)
        try:
            await self._registry.blob_size(there, digest)
        except NotFound:
            return False
        return True
