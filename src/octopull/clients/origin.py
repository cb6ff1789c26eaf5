"""How the other services speak to the origins: blobs by their owners, uploads by token."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b

import aiohttp

from octopull.blob.metainfo import METAINFO_BYTES_MAX, Metainfo
from octopull.blob.start import Start
from octopull.clients import starts
from octopull.clients.failover import first, first_holder
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Fault, InvalidName, NotFound
from octopull.kernel.peers import Peer
from octopull.observability import logs
from octopull.placement.health import Health
from octopull.placement.rendezvous import owners

log = logs.get("origins")
STARTS_S = 10.0
UPLOAD_IDLE_S = 60.0
COMMIT_S = 600.0
"""A commit may copy the blob to other owners before it is answered."""

_OFFSET_HEADER = "Octopull-Offset"


class OriginCluster:
    """The origins of one cluster; ``hosts`` are ``host:port``.

    An upload token names the origin that holds the session by a hash, so a forged token
    can reach no host but these.
    """

    def __init__(self, http: Http, hosts: Sequence[str], replicas: int) -> None:
        self._http = http
        self._hosts = list(hosts)
        self._replicas = replicas
        self._health = Health()
        self._by_key = {_key(host): host for host in hosts}

    def owners(self, digest: Digest) -> list[str]:
        """The hosts that should hold ``digest``, best first."""
        return owners(digest, self._hosts, self._replicas)

    async def stat(self, namespace: str, digest: Digest) -> int:
        """Size in bytes.

        Raises:
            NotFound: no origin has it. Unavailable: not all could be asked.

        """

        async def ask(host: str) -> int:
            reply = await self._http.call("HEAD", _blob(host, namespace, digest))
            return int(reply.headers["Content-Length"])

        return await first_holder(self._preference(digest), self._health, ask)

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

        content = await first_holder(self._preference(digest), self._health, ask)
        if Digest.of(content) != digest:
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

        encoded = await first_holder(self._preference(digest), self._health, ask)
        metainfo = Metainfo.decode(encoded)
        if metainfo.digest != digest:
            raise Corrupt("an origin sent another blob's metainfo", digest=str(digest))
        return metainfo

    async def starts(self, namespace: str, digests: Sequence[Digest]) -> list[Start]:
        """How to begin with ``digests``; what its first owner can't tell is left out."""
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

        token = await self.start_upload(namespace)
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

        return await first_holder(self._preference(digest), self._health, ask)

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


def replica_url(host: str, namespace: str, digest: Digest) -> str:
    """Where an origin takes a copy from another origin."""
    return f"http://{host}/internal/namespace/{namespace}/blobs/{digest}"
