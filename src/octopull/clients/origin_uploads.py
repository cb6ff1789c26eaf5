"""Upload sessions at the origins of a cluster, each named by a token."""

import contextlib
import functools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b

from octopull.clients.failover import first
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, InvalidName, NotFound
from octopull.placement.members import Members

UPLOAD_IDLE_S = 60.0
COMMIT_S = 600.0
"""A commit may copy the blob to other owners before it is answered."""

_OFFSET_HEADER = "Octopull-Offset"


class OriginUploads:
    """Sessions at ``members``, of which any that has a weight may be asked to open one.

    A token names the origin that holds the session by a hash, so a forged token can reach no
    host but these.
    """

    def __init__(self, http: Http, members: Members) -> None:
        self._http = http
        self._members = members

    async def start(self, namespace: str) -> str:
        """Open an upload session at some origin; the token is safe in a URL."""

        async def ask(host: str) -> str:
            reply = await self._http.call("POST", f"http://{host}/namespace/{namespace}/uploads")
            return f"{_key(host)}.{reply.headers['Location']}"

        taking = self._members.now.weighted
        hosts = random.sample(taking, len(taking))
        return await first(hosts, self._members.health, ask)

    @asynccontextmanager
    async def opened(self, namespace: str) -> AsyncIterator[str]:
        """A session that nobody else knows of: dropped if the block fails."""
        token = await self.start(namespace)
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
        url = self._url(namespace, token)
        async with self._http.stream(
            "PATCH", url, data=body, headers=headers, idle_s=UPLOAD_IDLE_S
        ) as response:
            return int(response.headers[_OFFSET_HEADER])

    async def size(self, namespace: str, token: str) -> int:
        """Bytes the session holds.

        Raises:
            NotFound: no such session.

        """
        reply = await self._http.call("GET", self._url(namespace, token))
        return int(reply.headers[_OFFSET_HEADER])

    async def commit(self, namespace: str, token: str, digest: Digest) -> None:
        """Make the session's bytes a blob, durable on a write quorum of its owners.

        Raises:
            InvalidDigest: the bytes have another digest; the session is over.
            Unavailable: no quorum; the session or the blob stays and commit may be repeated.

        """
        url = f"{self._url(namespace, token)}?digest={digest}"
        await self._http.call("PUT", url, timeout_s=COMMIT_S)

    async def rewind(self, namespace: str, token: str, size: int) -> None:
        """Forget the session's bytes behind the first ``size``.

        Raises:
            NotFound: no such session.

        """
        url = f"{self._url(namespace, token)}/rewind"
        await self._http.call("POST", url, headers={_OFFSET_HEADER: str(size)})

    async def abort(self, namespace: str, token: str) -> None:
        """Drop the session.

        Raises:
            NotFound: no such session.

        """
        await self._http.call("DELETE", self._url(namespace, token))

    async def push(self, namespace: str, digest: Digest, content: bytes) -> None:
        """Store a small blob; repeating it is safe."""

        async def body() -> AsyncIterator[bytes]:
            yield content

        async with self.opened(namespace) as token:
            if content:
                await self.append(namespace, token, 0, body(), len(content))
            await self.commit(namespace, token, digest)

    def _url(self, namespace: str, token: str) -> str:
        key, dot, session = token.partition(".")
        if not dot or not session.isalnum():
            raise InvalidName("not an upload session", token=token[:80])
        host = next((host for host in self._members.hosts if _key(host) == key), None)
        if host is None:
            raise NotFound("no such upload session", token=token[:80])
        return f"http://{host}/namespace/{namespace}/uploads/{session}"


@functools.lru_cache(1024)
def _key(host: str) -> str:
    return blake2b(host.encode(), digest_size=6).hexdigest()
