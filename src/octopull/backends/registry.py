"""A registry that is read: manifests, and blobs that go on where a connection broke.

Distribution-spec 1.1, "Pulling manifests" and "Pulling blobs".
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from yarl import URL

from octopull.backends.guard import Guard
from octopull.backends.registry_place import Place, Role, place_of_upstream
from octopull.backends.requests import Requests
from octopull.config.upstreams import UpstreamSettings
from octopull.http.client import Http
from octopull.http.streams import read_manifest
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest, Unavailable, UpstreamFailed
from octopull.observability import logs, metrics
from octopull.oci.manifests import MediaType
from octopull.runtime.bandwidth import Bucket, Rate, keep_to

log = logs.get("upstream")
RESUMES_MAX = 50
FRUITLESS_MAX = 4
"""Attempts in a row that bring no byte."""

RESUME_S = 0.1
RESUME_S_MAX = 5.0
BEYOND = 416
"""The status of an answer to a range that holds no byte."""

_RECEIVED = {
    Role.UPSTREAM: metrics.UPSTREAM_BYTES,
    Role.BACKEND: metrics.BACKEND_RECEIVED_BYTES,
    Role.REMOTE: metrics.UPSTREAM_BYTES,
}
_ACCEPT = {"Accept": ", ".join(MediaType)}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the upstream sent it, proven by ``digest``."""

    digest: Digest
    content: bytes


class RemoteRegistry:
    """One registry that is not ours. ``http`` must resolve by ``guard``."""

    def __init__(self, http: Http, place: Place, guard: Guard) -> None:
        self.place = place
        self.requests = Requests(http, place, guard)
        # Tag checks need not wait until large blobs are through.
        self.manifest_turns = asyncio.Semaphore(place.requests_max)
        self.blob_turns = asyncio.Semaphore(place.requests_max)
        self._in = Bucket(Rate(place.in_bytes_per_s))
        self.out = Bucket(Rate(place.out_bytes_per_s))
        self._received_bytes = 0
        self._counter = _RECEIVED[place.role].labels(place.name)

    @property
    def received_bytes(self) -> int:
        """Bytes of blobs that came so far."""
        return self._received_bytes

    async def tag(self, repository: str, tag: str) -> Digest:
        """What a tag stands for, without fetching it where the upstream tells.

        Raises:
            NotFound: no such tag, or not for us. UpstreamFailed: the upstream can't tell.

        """
        async with (
            self.deadline(),
            self.manifest_turns,
            self.requests.answer("HEAD", repository, f"manifests/{tag}", _ACCEPT) as response,
        ):
            told = response.headers.get("Docker-Content-Digest", "")
        with contextlib.suppress(InvalidDigest):
            return Digest.parse(told)
        return (await self.manifest(repository, tag)).digest

    async def manifest(self, repository: str, reference: Digest | str) -> Manifest:
        """A manifest by tag or digest.

        Raises:
            as ``tag``; Corrupt: the bytes are not those of the digest. TooLarge: no end.

        """
        async with (
            self.deadline(),
            self.manifest_turns,
            self.requests.answer("GET", repository, f"manifests/{reference}", _ACCEPT) as response,
        ):
            content = await read_manifest(response.content)
            told = response.headers.get("Docker-Content-Digest", "")
        digest = reference if isinstance(reference, Digest) else _digest(told, content)
        if not digest.proves(content):
            raise Corrupt(f"{self.place.name} sent other bytes", digest=str(digest))
        return Manifest(digest, content)

    @contextlib.asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        with self.blamed():
            try:
                async with asyncio.timeout(self.place.timeout_s):
                    yield
            except TimeoutError as error:
                raise UpstreamFailed(f"{self.place.name} does not answer") from error

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """What fails is the upstream; addresses it sent us to are for the log alone."""
        name = self.place.name
        try:
            yield
        except UpstreamFailed:
            raise
        except Unavailable as fault:
            if "told" not in fault.details:  # Else who wanted the change says why it failed.
                log.warning("upstream.failed", upstream=name, reason=str(fault))
            outside = fault.__cause__ is not None
            message = f"{name} can't be reached" if outside else str(fault)
            raise UpstreamFailed(message, **fault.details) from fault

    async def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Bytes of a blob; None if the upstream does not say.

        Raises:
            as ``blob``.

        """
        return await self._size(repository, f"blobs/{digest}", {})

    async def manifest_size(self, repository: str, digest: Digest) -> int | None:
        """Bytes of a manifest; None if the upstream does not say.

        Raises:
            as ``tag``.

        """
        return await self._size(repository, f"manifests/{digest}", _ACCEPT)

    async def _size(self, repository: str, path: str, headers: Mapping[str, str]) -> int | None:
        async with (
            self.deadline(),
            self.manifest_turns,
            self.requests.answer("HEAD", repository, path, headers) as response,
        ):
            return response.content_length

    async def blob(
        self, repository: str, digest: Digest, start: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from ``start`` on, not proven; a broken connection is taken up again.

        Raises:
            NotFound: no such blob, or not for us. UpstreamFailed: it fails for good.

        """
        body = Body(self.requests, repository, digest, start)
        with self.blamed():
            async with self.blob_turns, contextlib.aclosing(body.chunks()) as chunks:
                async for chunk in chunks:
                    self._received_bytes += len(chunk)
                    self._counter.inc(len(chunk))
                    self._in.spend(len(chunk))
                    yield chunk
                    await keep_to(self._in)


class Upstream(RemoteRegistry):
    """A registry whose images this cluster fetches when they are asked for."""

    def __init__(self, http: Http, settings: UpstreamSettings, guard: Guard) -> None:
        super().__init__(http, place_of_upstream(settings), guard)
        self.settings = settings


@contextlib.asynccontextmanager
async def connected(settings: Sequence[UpstreamSettings]) -> AsyncIterator[Mapping[str, Upstream]]:
    """The upstreams by name, each with connections of its own."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, Upstream] = {}
        for one in settings:
            guard = Guard(URL(one.address).host or "")
            http = await stack.enter_async_context(Http(guard))
            found[one.name] = Upstream(http, one, guard)
        yield found


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncIterator[RemoteRegistry]:
    """The registry at ``place``, with connections of its own; it need not be there yet."""
    guard = Guard(URL(place.address).host or "")
    async with Http(guard) as http:
        yield RemoteRegistry(http, place, guard)


class Body:
    """One blob on its way, over as many connections as it takes."""

    def __init__(self, requests: Requests, repository: str, digest: Digest, start: int) -> None:
        self._requests = requests
        self._repository = repository
        self._digest = digest
        self._size: int | None = None
        self._received = start

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes; see ``Upstream.blob``."""
        fruitless = 0
        for _ in range(RESUMES_MAX):
            before = self._received
            try:
                async with contextlib.aclosing(self._connection()) as chunks:
                    async for chunk in chunks:
                        self._received += len(chunk)
                        yield chunk
            except Unavailable as fault:
                fruitless = fruitless + 1 if self._received == before else 1
                if _final(fault) or fruitless >= FRUITLESS_MAX:
                    raise
                log.info("blob.broke", digest=self._digest.short, received=self._received,
                         reason=str(fault))  # fmt: skip
            else:
                return
            await asyncio.sleep(min(RESUME_S * 2**fruitless, RESUME_S_MAX))
        raise Unavailable("the upstream breaks off again and again", resumes=RESUMES_MAX)

    async def _connection(self) -> AsyncGenerator[bytes, None]:
        """What one connection brings of the rest; returns once the blob is whole.

        Raises:
            Unavailable: it broke.

        """
        start = self._received
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"blobs/{self._digest}"
        async with self._requests.answer("GET", self._repository, path, headers) as response:
            skip = self._begin(response, start)
            async for chunk in response.content.iter_any():
                if skip:
                    rest, skip = chunk[skip:], max(0, skip - len(chunk))
                else:
                    rest = chunk
                if rest:
                    yield rest
        if self._size is not None and self._received != self._size:
            raise Unavailable("the body ends early")

    def _begin(self, response: aiohttp.ClientResponse, start: int) -> int:
        """How many bytes of the body we have already; learns the size."""
        skip, size = start, response.content_length
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != start:
                raise Unavailable("the upstream sends another range than was asked for")
            skip, size = 0, int(match[2])
        if self._size is not None and size != self._size:
            raise Unavailable("the upstream has changed its mind about the size")
        self._size = size
        return skip


def _final(fault: Unavailable) -> bool:
    """Whether another attempt would be no better."""
    return "rests_s" in fault.details or fault.details.get("status") == BEYOND


def _digest(told: str, content: bytes) -> Digest:
    """What the upstream says it is, else what it is."""
    try:
        return Digest.parse(told)
    except InvalidDigest:
        return Digest.of(content)
