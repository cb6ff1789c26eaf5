"""How the other services speak to the origins: blobs by their owners, uploads by token."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import TypeVar

import aiohttp

from octopull.blob.metainfo import METAINFO_BYTES_MAX, Metainfo
from octopull.blob.start import Start
from octopull.clients import fetching, keeping, starts
from octopull.clients.failover import first, first_holder
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Fault, InvalidName, NotFound, Unavailable
from octopull.kernel.peers import Peer
from octopull.observability import logs
from octopull.oci.upstreams import split
from octopull.placement.health import Health
from octopull.placement.rendezvous import owners

T = TypeVar("T")
log = logs.get("origins")
STARTS_S = 10.0
STARTS_FETCH_S = 1.0
"""A small blob of an upstream is there by then; for others nobody should wait here."""

UPLOAD_IDLE_S = 60.0
COMMIT_S = 600.0
"""A commit may copy the blob to other owners before it is answered."""

_OFFSET_HEADER = "Octopull-Offset"


class OriginCluster:
    """The origins of one cluster; ``hosts`` are ``host:port``.

    An upload token names the origin that holds the session by a hash, so a forged token
    can reach no host but these. ``book`` names the tag index that asks, if one does. What no
    origin has and is of one of ``upstreams`` is fetched from there when it is asked for; whoever
    asks waits for that as long as it goes on, with ``patience_s`` seconds of silence, or else
    is told ``Pending``.
    """

    def __init__(
        self, http: Http, hosts: Sequence[str], replicas: int, book: str = "",
        upstreams: Collection[str] = (), patience_s: float = 0.0,
    ) -> None:  # fmt: skip
        self._http = http
        self._book = book
        self._hosts = list(hosts)
        self._replicas = replicas
        self._upstreams = upstreams
        self._patience_s = patience_s
        self._health = Health()
        self._by_key = {_key(host): host for host in hosts}

    @property
    def hosts(self) -> list[str]:
        """All of them."""
        return list(self._hosts)

    def owners(self, digest: Digest) -> list[str]:
        """The hosts that should hold ``digest``, best first."""
        return owners(digest, self._hosts, self._replicas)

    async def stat(self, namespace: str, digest: Digest) -> int:
        """Size in bytes.

        Raises:
            NotFound: no origin has it. Unavailable: not all could be asked.
            Pending, UpstreamFailed: it is on its way from an upstream; it won't come.

        """

        async def ask(host: str) -> int:
            reply = await self._http.call("HEAD", _blob(host, namespace, digest))
            return int(reply.headers["Content-Length"])

        return await self._held(namespace, digest, ask)

    async def keep(self, namespace: str, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Touch blobs that somebody is about to refer to, on all their owners.

        Returns the sizes in bytes of those that are there: they stay for the grace time of
        garbage collection, or until the manifest that refers to them is recorded or refused.

        Raises:
            Unavailable: one was found nowhere, and not all could be asked.

        """
        wanted = dict.fromkeys(digests)
        asked = {digest: self.owners(digest) for digest in wanted}
        found, silent = await self._keep_at(namespace, asked)
        others = {
            digest: [host for host in self._hosts if host not in hosts]
            for digest, hosts in asked.items()
            if digest not in found
        }
        more, also_silent = await self._keep_at(namespace, others)
        missing = [digest for digest in others if digest not in more]
        if split(namespace, self._upstreams) is not None:
            more |= await self._sizes(namespace, missing)
        elif missing and (reason := silent or also_silent):
            raise reason
        return {**found, **more}

    async def _sizes(self, namespace: str, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Of an upstream's blobs, fetched just now."""
        found: dict[Digest, int] = {}
        for digest in digests:
            with contextlib.suppress(NotFound):
                found[digest] = await self.stat(namespace, digest)
        return found

    async def _keep_at(
        self, namespace: str, asked: Mapping[Digest, Sequence[str]]
    ) -> tuple[dict[Digest, int], Unavailable | None]:
        """Sizes of what the hosts named for each digest have; and what kept one from answering."""
        by_host: dict[str, list[Digest]] = {}
        for digest, hosts in asked.items():
            for host in hosts:
                by_host.setdefault(host, []).append(digest)

        async def ask(host: str) -> dict[Digest, int]:
            digests = by_host[host]
            return await keeping.keep(self._http, host, namespace, digests, self._book)

        async def ask_one(host: str) -> dict[Digest, int] | Unavailable:
            try:
                return await first([host], self._health, ask)
            except Unavailable as fault:
                return fault

        found: dict[Digest, int] = {}
        silent: Unavailable | None = None
        for answer in await asyncio.gather(*map(ask_one, by_host)):
            if isinstance(answer, Unavailable):
                silent = answer
            else:
                found.update(answer)
        return found, silent

    async def read(self, namespace: str, digest: Digest, bytes_max: int) -> bytes:
        """The whole blob, checked against its digest.

        Raises:
            NotFound, Unavailable: as ``stat``. TooLarge: beyond ``bytes_max``.
            Corrupt: the bytes are wrong.

        """

        async def ask(host: str) -> bytes:
            return await self._http.bytes(
                "GET", _blob(host, namespace, digest), bytes_max=bytes_max, timeout_s=30
            )

        content = await self._held(namespace, digest, ask)
        if not digest.proves(content):
            raise Corrupt("an origin sent other bytes", digest=str(digest))
        return content

    @asynccontextmanager
    async def stream(
        self, namespace: str, digest: Digest, span: tuple[int, int] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The body, whole or ``span`` (start, length), from the first owner that has it.

        Raises:
            as ``stat``.

        """
        holder = await self._holder(namespace, digest)
        headers = {} if span is None else {"Range": f"bytes={span[0]}-{span[0] + span[1] - 1}"}
        url = _blob(holder, namespace, digest)
        async with self._http.stream("GET", url, headers=headers) as response:
            yield response

    async def metainfo(self, namespace: str, digest: Digest) -> Metainfo:
        """The blob's metainfo.

        Raises:
            as ``stat``; Corrupt: it does not describe ``digest``.

        """

        async def ask(host: str) -> bytes:
            url = f"{_blob(host, namespace, digest)}/metainfo"
            return await self._http.bytes("GET", url, bytes_max=METAINFO_BYTES_MAX, timeout_s=30)

        encoded = await self._held(namespace, digest, ask)
        metainfo = Metainfo.decode(encoded)
        if metainfo.digest != digest:
            raise Corrupt("an origin sent another blob's metainfo", digest=str(digest))
        return metainfo

    async def starts(self, namespace: str, digests: Sequence[Digest]) -> list[Start]:
        """How to begin with ``digests``; what its first owner can't tell is left out.

        Who asks for one alone wants it now, so that is fetched if it is an upstream's. Who asks
        for many may want few of them.
        """
        found = await self._starts(namespace, digests)
        if found or len(digests) != 1 or split(namespace, self._upstreams) is None:
            return found
        try:
            await self.fetch(namespace, digests[0], wait_s=STARTS_FETCH_S)
        except Fault as fault:
            log.info("fetch.failed", digest=digests[0].short, reason=str(fault))
            return []
        return await self._starts(namespace, digests)

    async def _starts(self, namespace: str, digests: Sequence[Digest]) -> list[Start]:
        by_host: dict[str, list[Digest]] = {}
        for digest in digests:
            host = self._health.order(self._preference(digest), time.monotonic())[0]
            by_host.setdefault(host, []).append(digest)
        answers = await asyncio.gather(
            *(self._starts_of(host, namespace, asked) for host, asked in by_host.items())
        )
        return [one for answer in answers for one in answer]

    async def _starts_of(self, host: str, namespace: str, digests: Sequence[Digest]) -> list[Start]:
        async def ask(host: str) -> list[Start]:
            return await starts.ask(self._http, host, namespace, digests, STARTS_S)

        try:
            return await first([host], self._health, ask)
        except Fault as fault:
            log.info("starts.failed", host=host, reason=str(fault))
            return []

    async def peer(self, host: str) -> Peer:
        """Where the origin at ``host`` listens for peers."""
        return await self._http.json("GET", f"http://{host}/peer", Peer, timeout_s=5)

    async def start_upload(self, namespace: str) -> str:
        """Open an upload session at some origin; the token is safe in a URL."""

        async def ask(host: str) -> str:
            reply = await self._http.call("POST", f"http://{host}/namespace/{namespace}/uploads")
            return f"{_key(host)}.{reply.headers['Location']}"

        hosts = random.sample(self._hosts, len(self._hosts))
        return await first(hosts, self._health, ask)

    @asynccontextmanager
    async def upload(self, namespace: str) -> AsyncIterator[str]:
        """A session that nobody else knows of: dropped if the block fails."""
        token = await self.start_upload(namespace)
        try:
            yield token
        except BaseException:
            # Best effort: it may be over, or its origin gone; then it expires.
            with contextlib.suppress(Fault):
                await self.abort(namespace, token)
            raise

    async def append(
        self, namespace: str, token: str, offset: int, body: AsyncIterator[bytes],
        length: int | None,
    ) -> int:  # fmt: skip
        """Stream ``body`` to the session's end, which must be ``offset``; returns the new size.

        Raises:
            InvalidRange: the session ends elsewhere. NotFound: no such session.

        """
        headers = {_OFFSET_HEADER: str(offset)}
        if length is not None:
            headers["Content-Length"] = str(length)
        url = self._upload(namespace, token)
        async with self._http.stream(
            "PATCH", url, data=body, headers=headers, idle_s=UPLOAD_IDLE_S
        ) as response:
            return int(response.headers[_OFFSET_HEADER])

    async def upload_size(self, namespace: str, token: str) -> int:
        """Bytes the session holds.

        Raises:
            NotFound: no such session.

        """
        reply = await self._http.call("GET", self._upload(namespace, token))
        return int(reply.headers[_OFFSET_HEADER])

    async def commit(self, namespace: str, token: str, digest: Digest) -> None:
        """Make the session's bytes a blob, durable on a write quorum of its owners.

        Raises:
            InvalidDigest: the bytes have another digest; the session is over.
            Unavailable: no quorum; the session or the blob stays and commit may be repeated.

        """
        url = f"{self._upload(namespace, token)}?digest={digest}"
        await self._http.call("PUT", url, timeout_s=COMMIT_S)

    async def rewind(self, namespace: str, token: str, size: int) -> None:
        """Forget the session's bytes behind the first ``size``.

        Raises:
            NotFound: no such session.

        """
        url = f"{self._upload(namespace, token)}/rewind"
        await self._http.call("POST", url, headers={_OFFSET_HEADER: str(size)})

    async def abort(self, namespace: str, token: str) -> None:
        """Drop the session.

        Raises:
            NotFound: no such session.

        """
        await self._http.call("DELETE", self._upload(namespace, token))

    async def push(self, namespace: str, digest: Digest, content: bytes) -> None:
        """Store a small blob; repeating it is safe."""

        async def body() -> AsyncIterator[bytes]:
            yield content

        async with self.upload(namespace) as token:
            if content:
                await self.append(namespace, token, 0, body(), len(content))
            await self.commit(namespace, token, digest)

    async def ready(self) -> None:
        """Raises Unavailable when no origin answers."""

        async def ask(host: str) -> None:
            await self._http.call("GET", f"http://{host}/health", timeout_s=3)

        await first(self._hosts, self._health, ask)

    async def _holder(self, namespace: str, digest: Digest) -> str:
        async def ask(host: str) -> str:
            await self._http.call("HEAD", _blob(host, namespace, digest))
            return host

        return await self._held(namespace, digest, ask)

    async def _held(self, namespace: str, digest: Digest, ask: Callable[[str], Awaitable[T]]) -> T:
        """The answer of a host that has the blob, once it was fetched if it is an upstream's."""
        line = self._preference(digest)
        try:
            return await first_holder(line, self._health, ask)
        except (NotFound, Unavailable):
            # Even if not all could be asked: at worst it is fetched twice.
            if split(namespace, self._upstreams) is None:
                raise
        await self._fetch_patiently(namespace, digest)
        return await first_holder(line, self._health, ask)

    async def _fetch_patiently(self, namespace: str, digest: Digest) -> None:
        async def fetch() -> None:
            await self.fetch(namespace, digest)

        await (fetching.patient(fetch, self._patience_s) if self._patience_s else fetch())

    async def fetch(
        self, namespace: str, digest: Digest, *, manifest: bool = False,
        wait_s: float = fetching.WAIT_S,
    ) -> None:  # fmt: skip
        """Have the origins fetch a blob of an upstream; see ``fetching.fetch``."""
        await fetching.fetch(
            self._http, self._preference(digest), self._health, namespace, digest,
            manifest=manifest, wait_s=wait_s,
        )  # fmt: skip

    def _preference(self, digest: Digest) -> list[str]:
        return owners(digest, self._hosts, len(self._hosts))

    def _upload(self, namespace: str, token: str) -> str:
        key, dot, session = token.partition(".")
        if not dot or not session.isalnum():
            raise InvalidName("not an upload session", token=token[:80])
        host = self._by_key.get(key)
        if host is None:
            raise NotFound("no such upload session", token=token[:80])
        return f"http://{host}/namespace/{namespace}/uploads/{session}"


def _key(host: str) -> str:
    return blake2b(host.encode(), digest_size=6).hexdigest()


def _blob(host: str, namespace: str, digest: Digest) -> str:
    return f"http://{host}/namespace/{namespace}/blobs/{digest}"


def replica_url(host: str, namespace: str, digest: Digest, *, lone: bool) -> str:
    """Where an origin takes a copy from another origin."""
    url = f"http://{host}/internal/namespace/{namespace}/blobs/{digest}"
    return f"{url}?lone=1" if lone else url
