"""Garbage collection: origins forget what no recorded manifest leads to.

Per page of an origin's untouched blobs, in this order, and why no push loses a blob:

    1. list   the origin's blobs last touched before T; T is its clock, less the grace time
    2. wait   for the pushes now under way: they may have kept before T, and will have recorded
    3. ask    which of the listed no recorded manifest leads to
    4. take   those still not touched since T: pushes that began after 2 have kept after T

So a blob that a push keeps is either touched since T (4) or recorded when 3 asks.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)  # fmt: skip
from contextlib import contextmanager

from octopull.clients.collection import Ended, Line, Looked, Swept
from octopull.clients.keeping import DIGESTS_MAX, OriginBlobs, StoredBlob
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, Misuse, Unavailable
from octopull.observability import logs
from octopull.services.tag_index.pushes import Pushes, settled
from octopull.services.tag_index.store import TagStore

log = logs.get("collector")


class Collector:
    """Collects at ``origins``, those there are when it begins, one collection at a time.

    ``confirm``, where several tag indexes share the book, raises Unavailable if another leads by
    now, which may have recorded what this one takes for garbage.
    """

    def __init__(
        self, store: TagStore, pushes: Pushes, origins: Iterable[OriginBlobs],
        confirm: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._confirm = confirm
        self._store = store
        self._pushes = pushes
        self._origins = origins
        self._busy = False

    async def collect(self, *, grace_s: float, dry_run: bool) -> AsyncGenerator[Line, None]:
        """Collect what nobody touched for ``grace_s``, and tell of it page by page.

        A dry run changes nothing. An origin that fails is left, and the next one taken.

        Raises:
            Unavailable: a collection is under way.
            Misuse: another tag index refers to blobs of an origin.

        """
        with self._turn():
            origins = list(self._origins)
            await self._check_alone(origins)
            for origin in origins:
                async for line in self._sweep(origin, grace_s, dry_run=dry_run):
                    yield line
            yield Ended(dry_run=dry_run, grace_s=grace_s)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._busy:
            raise Unavailable("a collection is under way already")
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    async def _check_alone(self, origins: Sequence[OriginBlobs]) -> None:
        for origin in origins:
            try:
                others = set(await origin.books()) - {self._store.book()}
            except Unavailable:
                continue  # Nothing will be taken from it, then.
            if others:
                raise Misuse(
                    "another tag index refers to blobs of the origins, or an earlier database "
                    f"of this one did ({', '.join(sorted(others))}): collecting could take what "
                    "it needs; see docs/delete.md",
                    origin=origin.host,
                )

    async def _sweep(
        self, origin: OriginBlobs, grace_s: float, *, dry_run: bool
    ) -> AsyncIterator[Line]:
        looked_at = garbage = count = size = 0
        failure = ""
        yield Looked(origin=origin.host, looked_at=0, gone=[])
        try:
            async for page, found, gone in self._pages(origin, grace_s, dry_run=dry_run):
                looked_at, garbage = looked_at + page, garbage + found
                count, size = count + len(gone), size + sum(gone.values())
                blobs = [StoredBlob(digest=str(one), size=its) for one, its in gone.items()]
                yield Looked(origin=origin.host, looked_at=page, gone=blobs)
        except Fault as fault:
            failure = str(fault)
        log.info("collector.swept", origin=origin.host, looked_at=looked_at, collected=count,
                 bytes=size, dry_run=dry_run, failure=failure)  # fmt: skip
        yield Swept(origin=origin.host, looked_at=looked_at, collected=count, bytes=size,
                    kept_back=garbage - count, failure=failure)  # fmt: skip

    async def _pages(
        self, origin: OriginBlobs, grace_s: float, *, dry_run: bool
    ) -> AsyncIterator[tuple[int, int, dict[Digest, int]]]:
        """Per page: blobs listed, garbage among them, and what went with its sizes in bytes."""
        after: Digest | None = None
        while True:
            before_ns, page = await origin.untouched(grace_s, after, DIGESTS_MAX)
            await settled(self._pushes.under_way())
            if self._confirm is not None:
                await self._confirm()
            listed = dict(page)
            garbage = await asyncio.to_thread(self._store.unreferenced, list(listed))
            gone = {digest: listed[digest] for digest in garbage}
            if garbage and not dry_run:
                gone = await origin.collect(garbage, before_ns)
                await asyncio.to_thread(self._store.collected, list(gone))
            yield len(page), len(garbage), gone
            if len(page) < DIGESTS_MAX:
                return
            after = page[-1][0]


async def collect_every(collector: Collector, every_s: float, grace_s: float) -> None:
    """Collect again and again; what fails is tried the next time."""
    while True:
        await asyncio.sleep(every_s)
        try:
            async for _ in collector.collect(grace_s=grace_s, dry_run=False):
                pass
        except Fault as fault:
            log.warning("collector.refused", reason=str(fault))
