"""Blobs from elsewhere: fetched by one origin when somebody asks, and once however many do.

The origin that is first in line for a digest fetches it; one that is asked out of turn, since
somebody could not reach the first, asks those before it.
"""

import asyncio
import time

from octopull.clients import fetching
from octopull.clients.failover import first
from octopull.clients.fetching import Progress, Until
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, Unavailable, UpstreamFailed
from octopull.observability import logs
from octopull.runtime.tasks import Tasks, happens
from octopull.services.origin.arrival import Arrival
from octopull.services.origin.copies import Copies
from octopull.services.origin.fetch import Fetch, Fetcher
from octopull.services.origin.ring import Ring
from octopull.services.origin.sources import Source, Sources
from octopull.storage.disk import DiskStore

log = logs.get("origin")
FETCHES_MAX = 1000
FAILED_S = 3.0
"""How long a failure is the answer to those who ask again."""


class Refresh:
    """The fetches of this origin, one per digest."""

    def __init__(
        self, store: DiskStore, fetcher: Fetcher, copies: Copies, sources: Sources, ring: Ring,
        http: Http, tasks: Tasks,
    ) -> None:  # fmt: skip
        self._store = store
        self._fetcher = fetcher
        self._copies = copies
        self._sources = sources
        self._ring = ring
        self._http = http
        self._tasks = tasks
        self._fetches: dict[Digest, Fetch] = {}

    async def fetch(
        self, namespace: str, digest: Digest, wait_s: float, *, manifest: bool = False,
        until: Until = Until.READABLE,
    ) -> Progress | None:  # fmt: skip
        """Have the blob fetched; None once it is there, else how far it is.

        Waits ``until`` the blob is so far, but no longer than ``wait_s``.

        Raises:
            NotFound: it isn't there, or there is nothing to fetch it from.
            UpstreamFailed: the backend fails. Corrupt: it sends other bytes.
            Unavailable: too many blobs on their way, or the disk fails.

        """
        if await asyncio.to_thread(self._store.has, digest):
            return None
        fetch = self._current(namespace, digest)
        if fetch is None:
            self._source(namespace, digest, manifest=manifest)
            told = await self._ask_before(namespace, digest, manifest=manifest, until=until)
            if told is not None:
                return told[0]
            # Somebody else may have begun it meanwhile.
            fetch = self._current(namespace, digest)
        if fetch is None:
            # Asked again: it may have been condemned meanwhile.
            fetch = Fetch(namespace, self._source(namespace, digest, manifest=manifest))
            self._begin(digest, fetch)
            self._tasks.start(self._run(fetch), "fetch")
        await happens(fetch.over if until is Until.WHOLE else fetch.readable, wait_s)
        if fetch.fault is not None and fetch.namespace == namespace:
            raise type(fetch.fault)(str(fetch.fault), **fetch.fault.details)
        if fetch.over.is_set() and fetch.fault is None:
            return None
        return Progress(
            received=fetch.received, size=fetch.size, progress=self._fetcher.received_bytes,
            readable=fetch.arrival is not None,
        )  # fmt: skip

    def want(self, namespace: str, digest: Digest) -> None:
        """A peer asks for a blob that is not here, as one does whose download was broken off by
        our death: fetch it, if it can be fetched, without waiting.
        """
        source = self._sources.of(namespace, digest)
        if source is not None and self._current(namespace, digest) is None:
            self._tasks.start(self._fetch_for_peer(namespace, digest), "fetch for a peer")

    async def _fetch_for_peer(self, namespace: str, digest: Digest) -> None:
        try:
            await self.fetch(namespace, digest, 0.0)
        except Fault as fault:
            log.info("fetch.refused", digest=digest.short, reason=str(fault))

    async def size_elsewhere(self, namespace: str, digest: Digest) -> int | None:
        """Bytes of a blob that could be fetched; None if its backend can't say before the end.

        Raises:
            NotFound: it isn't there, or there is nothing to fetch it from.
            UpstreamFailed: the backend can't tell.

        """
        source = self._source(namespace, digest)
        return await source.backend.stat(source.blob)

    def _source(self, namespace: str, digest: Digest, *, manifest: bool = False) -> Source:
        source = self._sources.of(namespace, digest, manifest=manifest)
        if source is None:
            raise NotFound("no such blob, nor a backend to fetch it from", namespace=namespace)
        return source

    def is_fetching(self, digest: Digest) -> bool:
        """Whether the blob is on its way."""
        fetch = self._fetches.get(digest)
        return fetch is not None and not fetch.over.is_set()

    def arrival(self, digest: Digest) -> Arrival:
        """The blob on its way, as far as it can be read.

        Raises:
            NotFound: it isn't on its way, or not so far.

        """
        fetch = self._fetches.get(digest)
        if fetch is None or fetch.arrival is None or fetch.over.is_set():
            raise NotFound("no such blob here", digest=str(digest))
        return fetch.arrival

    def _current(self, namespace: str, digest: Digest) -> Fetch | None:
        """The fetch of ``digest``, or its failure if that is recent and of ``namespace``."""
        fetch = self._fetches.get(digest)
        if fetch is None or not fetch.over.is_set():
            return fetch
        recent = fetch.namespace == namespace and time.monotonic() < fetch.failed_until_s
        return fetch if recent else None

    def _begin(self, digest: Digest, fetch: Fetch) -> None:
        if len(self._fetches) >= FETCHES_MAX:
            under_way = {key: one for key, one in self._fetches.items() if not one.over.is_set()}
            self._fetches = under_way
        if len(self._fetches) >= FETCHES_MAX:
            raise Unavailable("too many blobs on their way from elsewhere", most=FETCHES_MAX)
        self._fetches[digest] = fetch

    async def _ask_before(
        self, namespace: str, digest: Digest, *, manifest: bool, until: Until
    ) -> tuple[Progress | None] | None:
        """What an origin that should fetch the blob says; None if none of them answers."""

        async def ask(host: str) -> Progress | None:
            return await fetching.ask(
                self._http, host, namespace, digest, manifest=manifest, until=until
            )

        # If one that is down fetches the blob all the same, it is fetched twice, at worst.
        health = self._ring.health
        before = [host for host in self._ring.before(digest) if not health.down(host)]
        if not before:
            return None
        try:
            return (await first(before, health, ask),)
        except UpstreamFailed:
            raise
        except Unavailable as fault:
            log.info("origins.silent", reason=str(fault))
            return None

    async def _run(self, fetch: Fetch) -> None:
        started_s, digest = time.monotonic(), fetch.digest
        try:
            await self._fetcher.run(fetch)
        except Fault as fault:
            fetch.fault = fault
            fetch.failed_until_s = time.monotonic() + FAILED_S
            log.warning("fetch.failed", digest=digest.short, reason=str(fault))
            return
        except BaseException:
            fetch.fault = Unavailable("the fetch was broken off")
            raise
        finally:
            fetch.end()
        del self._fetches[digest]
        log.info("fetch.done", digest=digest.short, backend=fetch.source.backend.name,
                 size=fetch.received, seconds=round(time.monotonic() - started_s, 3))  # fmt: skip
        await self._spread(fetch.namespace, digest)

    async def _spread(self, namespace: str, digest: Digest) -> None:
        """Copies at the other owners; the backend has the blob still, if that fails."""
        try:
            await self._copies.spread(namespace, digest, backed=True)
        except Fault as fault:
            log.warning("spread.failed", digest=digest.short, reason=str(fault))
