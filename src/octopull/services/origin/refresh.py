"""Blobs of upstreams: fetched by one origin when somebody asks, and once however many do.

The origin that is first in line for a digest fetches it; one that is asked out of turn, since
somebody could not reach the first, asks those before it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from octopull.backends.registry import Upstream
from octopull.clients import fetching
from octopull.clients.failover import first
from octopull.clients.fetching import Progress
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    Fault,
    InvalidDigest,
    NotFound,
    Unavailable,
    UpstreamFailed,
)
from octopull.observability import logs
from octopull.oci.upstreams import split
from octopull.placement.health import Health
from octopull.placement.rendezvous import owners
from octopull.runtime.tasks import Tasks
from octopull.services.origin.copies import Copies
from octopull.services.origin.uploads import receive
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads

log = logs.get("origin")
FETCHES_MAX = 1000
FAILED_S = 3.0
"""How long a failure is the answer to those who ask again."""


@dataclass(slots=True)
class Fetch:
    """One blob on its way from an upstream; ``fault`` is why it did not come."""

    namespace: str
    received: int = 0
    size: int | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Fault | None = None
    failed_until_s: float = 0.0

    def sized(self, size: int) -> None:
        """The upstream says how large the blob is."""
        self.size = size


@dataclass(frozen=True, slots=True)
class Arriving:
    """The bytes of a fetch, which counts them."""

    chunks: AsyncIterator[bytes]
    fetch: Fetch

    async def iter_any(self) -> AsyncIterator[bytes]:
        """As they come."""
        async for chunk in self.chunks:
            self.fetch.received += len(chunk)
            yield chunk


@dataclass(frozen=True, slots=True)
class Ring:
    """The origins of the cluster, of which this one is ``name``."""

    hosts: Sequence[str]
    name: str

    def before(self, digest: Digest) -> list[str]:
        """The hosts that should fetch ``digest`` rather than this one."""
        line = owners(digest, list(self.hosts), len(self.hosts))
        return line[: line.index(self.name)] if self.name in line else []


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of an upstream, in its own words; ``manifest`` if it is known to be one."""

    upstream: Upstream
    repository: str
    digest: Digest
    manifest: bool


class Refresh:
    """The fetches of this origin, one per digest."""

    def __init__(
        self, store: DiskStore, uploads: Uploads, copies: Copies, upstreams: Mapping[str, Upstream],
        ring: Ring, http: Http, tasks: Tasks, blob_bytes_max: int,
    ) -> None:  # fmt: skip
        self._store = store
        self._uploads = uploads
        self._copies = copies
        self._upstreams = upstreams
        self._ring = ring
        self._http = http
        self._tasks = tasks
        self._blob_bytes_max = blob_bytes_max
        self._health = Health()
        self._fetches: dict[Digest, Fetch] = {}

    async def fetch(
        self, namespace: str, digest: Digest, wait_s: float, *, manifest: bool = False
    ) -> Progress | None:
        """Have the blob fetched; None once it is there, else how far it is after ``wait_s``.

        Raises:
            NotFound: the upstream lacks it, or ``namespace`` is of no upstream.
            UpstreamFailed: it fails. Corrupt: it sends other bytes.
            Unavailable: too many blobs on their way, or the disk fails.

        """
        if await asyncio.to_thread(self._has, digest):
            return None
        upstream, repository = self._upstream(namespace)
        fetch = self._current(namespace, digest)
        if fetch is None:
            told = await self._ask_before(namespace, digest, manifest=manifest)
            if told is not None:
                return told[0]
            # Somebody else may have begun it meanwhile.
            fetch = self._current(namespace, digest)
        if fetch is None:
            fetch = Fetch(namespace)
            self._begin(digest, fetch)
            work = self._run(fetch, Wanted(upstream, repository, digest, manifest))
            self._tasks.start(work, "fetch")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await fetch.over.wait()
        if fetch.fault is not None and fetch.namespace == namespace:
            raise type(fetch.fault)(str(fetch.fault), **fetch.fault.details)
        if fetch.over.is_set() and fetch.fault is None:
            return None
        return Progress(received=fetch.received, size=fetch.size, progress=upstream.received_bytes)

    def _has(self, digest: Digest) -> bool:
        with contextlib.suppress(NotFound):
            self._store.stat(digest)
            return True
        return False

    def _upstream(self, namespace: str) -> tuple[Upstream, str]:
        found = split(namespace, self._upstreams)
        if found is None:
            raise NotFound("no such blob, nor an upstream to fetch it from", namespace=namespace)
        return self._upstreams[found[0]], found[1]

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
            raise Unavailable("too many blobs on their way from upstreams", most=FETCHES_MAX)
        self._fetches[digest] = fetch

    async def _ask_before(
        self, namespace: str, digest: Digest, *, manifest: bool
    ) -> tuple[Progress | None] | None:
        """What an origin that should fetch the blob says; None if none of them answers."""

        async def ask(host: str) -> Progress | None:
            return await fetching.ask(self._http, host, namespace, digest, manifest=manifest)

        before = self._ring.before(digest)
        if not before:
            return None
        try:
            return (await first(before, self._health, ask),)
        except UpstreamFailed:
            raise
        except Unavailable as fault:
            log.info("origins.silent", reason=str(fault))
            return None

    async def _run(self, fetch: Fetch, wanted: Wanted) -> None:
        started_s, digest = time.monotonic(), wanted.digest
        try:
            await self._transfer(fetch, wanted)
        except Fault as fault:
            fetch.fault = fault
            fetch.failed_until_s = time.monotonic() + FAILED_S
            log.warning("fetch.failed", digest=digest.short, reason=str(fault))
            return
        except BaseException:
            fetch.fault = Unavailable("the fetch was broken off")
            raise
        finally:
            fetch.over.set()
        del self._fetches[digest]
        log.info("fetch.done", digest=digest.short, upstream=wanted.upstream.settings.name,
                 size=fetch.received, seconds=round(time.monotonic() - started_s, 3))  # fmt: skip
        await self._spread(fetch.namespace, digest)

    async def _transfer(self, fetch: Fetch, wanted: Wanted) -> None:
        """A digest alone does not tell a manifest from a blob, and upstreams keep them apart."""
        if wanted.manifest:
            await self._take_manifest(fetch, wanted)
            return
        try:
            await self._take_blob(fetch, wanted)
        except NotFound:
            await self._take_manifest(fetch, wanted)

    async def _take_manifest(self, fetch: Fetch, wanted: Wanted) -> None:
        found = await wanted.upstream.manifest(wanted.repository, wanted.digest)
        fetch.received = len(found.content)
        await asyncio.to_thread(self._store.put, wanted.digest, found.content)

    async def _take_blob(self, fetch: Fetch, wanted: Wanted) -> None:
        session = await asyncio.to_thread(self._uploads.start)
        blob = wanted.upstream.blob(wanted.repository, wanted.digest, fetch.sized)
        try:
            async with contextlib.aclosing(blob) as chunks:
                arriving = Arriving(chunks, fetch)
                await receive(arriving, self._uploads, session, 0, self._blob_bytes_max)
            await asyncio.to_thread(self._uploads.commit, session, wanted.digest)
        except InvalidDigest as fault:
            name = wanted.upstream.settings.name
            raise Corrupt(f"{name} sent other bytes", digest=str(wanted.digest)) from fault
        finally:
            with contextlib.suppress(NotFound):
                await asyncio.to_thread(self._uploads.abort, session)

    async def _spread(self, namespace: str, digest: Digest) -> None:
        """Copies at the other owners; the upstream has the blob still, if that fails."""
        try:
            await self._copies.spread(namespace, digest)
        except Fault as fault:
            log.warning("spread.failed", digest=digest.short, reason=str(fault))
