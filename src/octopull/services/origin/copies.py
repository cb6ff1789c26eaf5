"""Copies of a blob on its other owners, made before a push is acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

from octopull.clients.keeping import condemn
from octopull.clients.origin import replica_url
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, Unavailable
from octopull.observability import logs, metrics
from octopull.runtime.tasks import each
from octopull.runtime.turns import Turns
from octopull.services.origin.ring import Ring
from octopull.storage import sides
from octopull.storage.blob_file import BlobFile
from octopull.storage.disk import DiskStore
from octopull.storage.durable import disk_faults

log = logs.get("origin")
COPY_IDLE_S = 30.0
READ_BYTES = 1024 * 1024
AT_ONCE = 4


class Copies:
    """Spreads blobs over ``ring``."""

    def __init__(self, http: Http, store: DiskStore, ring: Ring) -> None:
        self._http = http
        self._store = store
        self._ring = ring
        self._turns = Turns()

    @property
    def quorum(self) -> int:
        """Copies without which a push is not acknowledged: a majority of the replicas."""
        return self._ring.copies // 2 + 1

    async def spread(
        self, namespace: str, digest: Digest, *, lone: bool = False, backed: bool = False
    ) -> None:
        """Copy a blob of this store until its owners have it, or else the next in line.

        The line is of those that are up, and then the others: which hosts hold it may differ, never
        how many must.

        Of a ``lone`` blob all copies are lone. A ``backed`` one is elsewhere already, so that
        nobody writes it back.

        Raises:
            Unavailable: fewer than ``quorum`` hosts hold it durably.

        """
        mark = "lone" if lone else "backed" if backed else ""
        line, replicas = self._ring.up_first(self._ring.line(digest)), self._ring.copies
        chosen, spare = line[:replicas], line[replicas:]
        outcomes = await asyncio.gather(
            *(self._copy(host, namespace, digest, mark) for host in chosen)
        )
        copies = sum(outcomes)
        for host in spare:
            if copies >= replicas:
                break
            copies += await self._copy(host, namespace, digest, mark)
        if copies < self.quorum:
            raise Unavailable("too few origins took a copy", copies=copies, quorum=self.quorum)
        with disk_faults("noting that a blob is spread"):
            self._mark(digest).unlink(missing_ok=True)

    async def complete(self, namespace: str, digests: Collection[Digest]) -> None:
        """Spread those of ``digests`` whose push began here and was not acknowledged.

        A client need not push again what is there, so nothing may refer to it before.

        Raises:
            Unavailable: as ``spread``.

        """

        async def complete(digest: Digest) -> None:
            async with self._turns.of(digest):
                if self._mark(digest).exists():
                    await self.spread(namespace, digest)

        unspread = await asyncio.to_thread(
            lambda: [digest for digest in digests if self._mark(digest).exists()]
        )
        await each(unspread, complete, AT_ONCE)

    def _mark(self, digest: Digest) -> Path:
        return sides.unspread(self._store.path(digest))

    async def condemn_elsewhere(self, digests: Sequence[Digest]) -> set[Digest]:
        """Let no other origin rely on backends having ``digests``; those that one has.

        Raises:
            Unavailable: not all others answer.

        """
        others = (condemn(self._http, host, digests) for host in self._ring.others)
        found = await asyncio.gather(*others)
        return set().union(*found)

    async def _copy(self, host: str, namespace: str, digest: Digest, mark: str) -> int:
        """1 if ``host`` holds the blob durably afterwards, else 0."""
        if host == self._ring.name:
            return 1
        url = replica_url(host, namespace, digest, mark)
        try:
            blob = await asyncio.to_thread(self._store.open, digest)
            with blob:
                headers = {"Content-Length": str(blob.size)}
                async with self._http.stream(
                    "PUT", url, data=_chunks(blob), headers=headers, idle_s=COPY_IDLE_S
                ):
                    return 1
        except Fault as fault:
            metrics.REPLICAS_FAILED.inc()
            log.warning("replica.failed", digest=digest.short, host=host, reason=str(fault))
            return 0


async def _chunks(blob: BlobFile) -> AsyncIterator[bytes]:
    offset = 0
    while offset < blob.size:
        chunk = await asyncio.to_thread(blob.read, offset, READ_BYTES)
        if not chunk:
            raise Unavailable("the blob's file ends early", offset=offset)
        yield chunk
        offset += len(chunk)
