"""One blob from a backend into the store: small ones whole, others readable while they come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from octopull.blob.layout import Layout, piece_length_for
from octopull.blob.metainfo import Metainfo
from octopull.blob.outline import Outline
from octopull.blob.start import INLINE_BYTES_MAX
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    Fault,
    InvalidDigest,
    NotFound,
    TooLarge,
    Unavailable,
)
from octopull.observability import logs
from octopull.services.origin.arrival import Arrival
from octopull.services.origin.sources import Source
from octopull.services.origin.uploads import receive
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads
from octopull.transport.seeds import GrowingSeed

log = logs.get("origin")
DISTRUSTED_MAX = 1000
Grow = Callable[[Outline, int, str], GrowingSeed]
"""Seeds a blob of a namespace from a file, whose number is closed with the seed."""


@dataclass(slots=True)
class Fetch:
    """One blob on its way from elsewhere; ``fault`` is why it did not come."""

    namespace: str
    source: Source
    received: int = 0
    size: int | None = None
    arrival: Arrival | None = None
    readable: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Fault | None = None
    failed_until_s: float = 0.0

    @property
    def digest(self) -> Digest:
        """The blob's."""
        return self.source.blob.digest

    def end(self) -> None:
        """Nothing more will come."""
        if self.fault is not None and self.arrival is not None:
            self.arrival.failed(self.fault)
        self.over.set()
        self.readable.set()


class Fetcher:
    """Carries fetches out. A blob that was broken off goes on where it stopped, though the
    process was killed.
    """

    def __init__(self, store: DiskStore, uploads: Uploads, grow: Grow, blob_bytes_max: int) -> None:
        self._store = store
        self._uploads = uploads
        self._grow = grow
        self._blob_bytes_max = blob_bytes_max
        self._distrusted: dict[Digest, None] = {}
        self._received_bytes = 0

    @property
    def received_bytes(self) -> int:
        """Bytes of all fetches so far."""
        return self._received_bytes

    async def run(self, fetch: Fetch) -> None:
        """Until the blob is in the store.

        Raises:
            NotFound: it isn't there. UpstreamFailed: the backend fails.
            Corrupt: it sends other bytes. TooLarge: it has no end. Unavailable: the disk fails.

        """
        source = fetch.source
        fetch.size = await source.backend.stat(source.blob)
        if fetch.size is not None and fetch.size > self._blob_bytes_max:
            raise TooLarge("the blob is beyond the limit", bytes_max=self._blob_bytes_max)
        if fetch.size is not None and fetch.size <= INLINE_BYTES_MAX:
            await self._take_whole(fetch, fetch.size)
        else:
            await self._take_session(fetch)
        await asyncio.to_thread(self._store.mark_backed, fetch.digest, fetch.namespace)

    async def _take_whole(self, fetch: Fetch, size: int) -> None:
        content = bytearray()
        async with contextlib.aclosing(self._chunks(fetch, 0)) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > size:
                    raise self._other_bytes(fetch)
        if not fetch.digest.proves(bytes(content)):
            raise self._other_bytes(fetch)
        await asyncio.to_thread(self._store.put, fetch.digest, bytes(content))

    async def _take_session(self, fetch: Fetch) -> None:
        """Through an upload session, whose name follows from the digest: it can be taken up."""
        session = blake2b(f"fetch {fetch.digest}".encode(), digest_size=16).hexdigest()
        held = await asyncio.to_thread(self._uploads.resume, session)
        if fetch.size is not None and held > fetch.size:
            await asyncio.to_thread(self._uploads.rewind, session, 0)
            held = 0
        try:
            if fetch.size is not None:
                held = await self._open(fetch, session, fetch.size, held)
            await self._fill(fetch, session, held)
            await self._finish(fetch, session)
        except (Corrupt, NotFound, TooLarge):
            # What is there is of no use to the next attempt.
            with contextlib.suppress(NotFound):
                await asyncio.to_thread(self._uploads.abort, session)
            raise

    async def _open(self, fetch: Fetch, session: str, size: int, held: int) -> int:
        """Let the blob be read as far as it is there; returns how much that is."""
        stored = await self._stored_metainfo(fetch, size)
        layout = Layout(size, piece_length_for(size)) if stored is None else stored.layout
        outline = Outline(fetch.digest, layout)
        if stored is not None and held:
            held = await self._proven(session, stored)
        fd = await asyncio.to_thread(self._uploads.file, session)
        seed = self._grow(outline, fd, fetch.namespace)
        fetch.arrival = Arrival(outline, stored, seed)
        await self._advance(fetch.arrival, session, layout.piece_length)
        fetch.readable.set()
        return held

    async def _proven(self, session: str, stored: Metainfo) -> int:
        """Forget what a power failure may have left of an earlier attempt; returns what stays."""
        length = stored.layout.piece_length
        hashes = await asyncio.to_thread(self._uploads.whole_pieces, session, length, 0)
        pairs = zip(hashes, stored.piece_hashes, strict=False)
        right = next((n for n, (one, told) in enumerate(pairs) if one != told), len(hashes))
        await asyncio.to_thread(self._uploads.rewind, session, right * length)
        return right * length

    async def _fill(self, fetch: Fetch, session: str, held: int) -> None:
        fetch.received = held
        limit = self._blob_bytes_max if fetch.size is None else fetch.size

        async def wrote(size: int) -> None:
            del size
            if fetch.arrival is not None:
                await self._advance(fetch.arrival, session, fetch.arrival.piece_length)

        async with contextlib.aclosing(self._chunks(fetch, held)) as chunks:
            body = _Chunks(chunks)
            try:
                size = await receive(body, self._uploads, session, held, limit, wrote)
            except TooLarge as fault:
                raise self._other_bytes(fetch) from fault
        if fetch.size is not None and size != fetch.size:
            raise self._other_bytes(fetch)

    async def _advance(self, arrival: Arrival, session: str, piece_length: int) -> None:
        """Give on the pieces that have become whole."""
        hashes = await asyncio.to_thread(
            self._uploads.whole_pieces, session, piece_length, arrival.pieces
        )
        try:
            arrival.came(hashes)
        except Corrupt:
            self._distrust(arrival.digest)
            raise

    async def _finish(self, fetch: Fetch, session: str) -> None:
        """The last piece leaves when the digest matched; it need not wait for the disk."""
        try:
            hashes = await asyncio.to_thread(self._uploads.prove, session, fetch.digest)
        except InvalidDigest as fault:
            raise self._other_bytes(fetch) from fault
        if fetch.arrival is not None:
            fetch.arrival.proved(hashes)
        metainfo = await asyncio.to_thread(self._uploads.commit, session, fetch.digest)
        if fetch.arrival is not None:
            fetch.arrival.kept(await asyncio.to_thread(self._store.open, fetch.digest))
            if not fetch.arrival.was_described:
                await self._store_metainfo(fetch, metainfo)

    async def _chunks(self, fetch: Fetch, start: int) -> AsyncGenerator[bytes, None]:
        body = fetch.source.backend.get(fetch.source.blob, start)
        async with contextlib.aclosing(body) as chunks:
            async for chunk in chunks:
                self._received_bytes += len(chunk)
                fetch.received += len(chunk)
                yield chunk

    # Metainfo that the backend keeps beside the blob.

    async def _stored_metainfo(self, fetch: Fetch, size: int) -> Metainfo | None:
        """None if there is none, or it is of no use: then the blob is hashed as it comes."""
        if fetch.digest in self._distrusted:
            return None
        try:
            encoded = await fetch.source.backend.metainfo(fetch.source.blob)
            metainfo = Metainfo.decode(encoded)
        except NotFound:
            return None
        except (Unavailable, Corrupt) as fault:
            log.info("metainfo.useless", digest=fetch.digest.short, reason=str(fault))
            return None
        same = metainfo.digest == fetch.digest and metainfo.layout.size == size
        return metainfo if same else None

    async def _store_metainfo(self, fetch: Fetch, metainfo: Metainfo) -> None:
        backend = fetch.source.backend
        if backend.writable:
            try:
                await backend.put_metainfo(fetch.source.blob, metainfo.encode())
            except Fault as fault:
                log.info("metainfo.not_stored", digest=fetch.digest.short, reason=str(fault))

    def _distrust(self, digest: Digest) -> None:
        """Either the blob or its metainfo was damaged: next time the digest alone decides."""
        self._distrusted[digest] = None
        while len(self._distrusted) > DISTRUSTED_MAX:
            del self._distrusted[next(iter(self._distrusted))]

    def _other_bytes(self, fetch: Fetch) -> Corrupt:
        name = fetch.source.backend.name
        return Corrupt(f"{name} sent other bytes", digest=str(fetch.digest))


@dataclass(frozen=True, slots=True)
class _Chunks:
    """A backend's bytes as a body."""

    chunks: AsyncGenerator[bytes, None]

    def iter_any(self) -> AsyncIterator[bytes]:
        return self.chunks
