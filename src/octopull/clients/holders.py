"""The origins that hold a blob, or will once they have fetched it: asked until one answers."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import aiohttp

from octopull.clients import fetching
from octopull.clients.failover import first_holder
from octopull.clients.fetching import Until
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.oci.upstreams import split
from octopull.placement.members import Members

T = TypeVar("T")
FETCHES_MAX = 3
"""An origin may die while it fetches; the next one then does."""


class Holders:
    """Asks ``members`` for blobs; see ``OriginCluster`` for the rest."""

    def __init__(
        self, http: Http, members: Members, upstreams: Collection[str], patience_s: float
    ) -> None:
        self._http = http
        self._members = members
        self._health = members.health
        self._upstreams = upstreams
        self._patience_s = patience_s

    def line(self, digest: Digest) -> list[str]:
        """All origins, in the order in which to ask for ``digest``."""
        return self._members.now.line(digest.hex)

    async def ask(
        self, namespace: str, digest: Digest, ask: Callable[[str], Awaitable[T]],
        line: Sequence[str] | None = None,
    ) -> T:  # fmt: skip
        """The answer of a host that has the blob, if need be once it is being fetched.

        Asked are those of ``line``, or all.

        Raises:
            NotFound: no origin has it, nor what they fetch from. Unavailable: not all could be
                asked.
            Pending, UpstreamFailed: it is on its way from an upstream; it won't come.

        """
        line = self.line(digest) if line is None else line
        for _ in range(FETCHES_MAX):
            try:
                return await first_holder(line, self._health, ask)
            except (NotFound, Unavailable) as fault:
                # Even if not all could be asked: at worst it is fetched twice.
                with self.unless_nowhere(namespace, fault):
                    await self._fetch_patiently(namespace, digest)
        return await first_holder(line, self._health, ask)

    @asynccontextmanager
    async def stream(
        self, namespace: str, digest: Digest, span: tuple[int, int] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The body, whole or ``span`` (start, length), from the first owner that has it.

        Raises:
            as ``ask``.

        """
        headers = {} if span is None else {"Range": f"bytes={span[0]}-{span[0] + span[1] - 1}"}
        line = self.line(digest)
        async with AsyncExitStack() as stack:
            while True:
                holder = await self._holder(namespace, digest, line)
                url = blob_url(holder, namespace, digest)
                opening = self._http.stream("GET", url, headers=headers)
                try:
                    response = await stack.enter_async_context(opening)
                    break
                except (NotFound, Unavailable):
                    # It died since it said so, or finds only now what its disk has made of it.
                    line.remove(holder)
                    if not line:
                        raise
            yield response

    async def _holder(self, namespace: str, digest: Digest, line: Sequence[str]) -> str:
        """The first of ``line`` that says that it has the blob."""

        async def ask(host: str) -> str:
            await self._http.call("HEAD", blob_url(host, namespace, digest))
            return host

        return await self.ask(namespace, digest, ask, line)

    async def hold(self, namespace: str, digest: Digest) -> None:
        """Returns once an origin holds the whole blob.

        Raises:
            as ``ask``.

        """

        async def ask(host: str) -> None:
            await self._http.call("HEAD", f"{blob_url(host, namespace, digest)}?whole=1")

        try:
            await first_holder(self.line(digest), self._health, ask)
        except (NotFound, Unavailable) as fault:
            with self.unless_nowhere(namespace, fault):
                await self._fetch_patiently(namespace, digest, Until.WHOLE)

    async def fetch(
        self, namespace: str, digest: Digest, *, manifest: bool = False,
        wait_s: float = fetching.WAIT_S, until: Until = Until.READABLE,
    ) -> None:  # fmt: skip
        """Have the origins fetch a blob from elsewhere; see ``fetching.fetch``."""
        await fetching.fetch(
            self._http, self.line(digest), self._health, namespace, digest,
            manifest=manifest, wait_s=wait_s, until=until,
        )  # fmt: skip

    async def _fetch_patiently(
        self, namespace: str, digest: Digest, until: Until = Until.READABLE
    ) -> None:
        async def fetch() -> None:
            await self.fetch(namespace, digest, until=until)

        await (fetching.patient(fetch, self._patience_s) if self._patience_s else fetch())

    @contextlib.contextmanager
    def unless_nowhere(self, namespace: str, fault: NotFound | Unavailable) -> Iterator[None]:
        """``fault`` says why no origin has the blob, and counts if there is nothing to fetch it from.

        Of an upstream's blob, what the upstream says counts.
        """
        try:
            yield
        except NotFound:
            if split(namespace, self._upstreams) is None:
                raise fault from None
            raise


def blob_url(host: str, namespace: str, digest: Digest) -> str:
    """Where an origin serves the blob."""
    return f"http://{host}/namespace/{namespace}/blobs/{digest}"
