"""Copies of a blob on its other owners, made before a push is acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from octopull.clients.origin import replica_url
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, Unavailable
from octopull.observability import logs, metrics
from octopull.placement.rendezvous import owners
from octopull.storage.disk import BlobFile, DiskStore

log = logs.get("origin")
COPY_IDLE_S = 30.0
READ_BYTES = 1024 * 1024


class Copies:
    """Spreads blobs over the ring ``hosts``, of which this origin is ``name``."""

    def __init__(
        self, http: Http, store: DiskStore, hosts: Sequence[str], name: str, replicas: int
    ) -> None:
        self._http = http
        self._store = store
        self._hosts = list(hosts)
        self._name = name
        self._replicas = min(replicas, len(hosts))

    @property
    def quorum(self) -> int:
        """Copies without which a push is not acknowledged: a majority of the replicas."""
        return self._replicas // 2 + 1

    def owners(self, digest: Digest) -> list[str]:
        """The hosts that should hold ``digest``, best first."""
        return owners(digest, self._hosts, self._replicas)

    async def spread(self, namespace: str, digest: Digest, *, lone: bool = False) -> None:
        """Copy a blob of this store until its owners have it, or else the next in line.

        Of a ``lone`` blob all copies are lone.

        Raises:
            Unavailable: fewer than ``quorum`` hosts hold it durably.

        """
        line = owners(digest, self._hosts, len(self._hosts))
        chosen, spare = line[: self._replicas], line[self._replicas :]
        outcomes = await asyncio.gather(
            *(self._copy(host, namespace, digest, lone) for host in chosen)
        )
        copies = sum(outcomes)
        for host in spare:
            if copies >= self._replicas:
                break
            copies += await self._copy(host, namespace, digest, lone)
        if copies < self.quorum:
            raise Unavailable("too few origins took a copy", copies=copies, quorum=self.quorum)

    async def _copy(self, host: str, namespace: str, digest: Digest, lone: bool) -> int:  # noqa: FBT001 - handed on
        """1 if ``host`` holds the blob durably afterwards, else 0."""
        if host == self._name:
            return 1
        url = replica_url(host, namespace, digest, lone=lone)
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
