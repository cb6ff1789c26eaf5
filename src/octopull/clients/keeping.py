"""What origins are told for garbage collection: keep, list, collect."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from octopull.clients.failover import briefly, first
from octopull.clients.questions import Digests
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest, Unavailable
from octopull.placement.health import Health
from octopull.placement.members import Members

BOOK_HEADER = "Octopull-Book"
"""Names the tag index that asks, by its database: none collects what another may refer to."""

DIGESTS_MAX = 1000
"""In one question."""

KEEP_S = 10.0
KEEP_DOWN_S = 0.5
"""So long one that is down is waited for with a touch, which the next owners have, too."""

COLLECT_S = 60.0
"""A disk may take long to remove a thousand files."""


class CollectRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Blobs to remove if they were last touched before ``before_ns``, by the origin's clock."""

    digests: list[str]
    before_ns: int


class StoredBlob(msgspec.Struct, frozen=True, kw_only=True):
    """A blob and its size in bytes."""

    digest: str
    size: int


class Untouched(msgspec.Struct, frozen=True, kw_only=True):
    """A page of blobs last touched before ``before_ns``; more follow if it is full."""

    before_ns: int
    blobs: list[StoredBlob]


async def keep(
    http: Http, host: str, namespace: str, digests: Sequence[Digest], book: str
) -> dict[Digest, int]:
    """Touch ``digests`` at the origin ``host``; sizes in bytes of those it has.

    Raises:
        Unavailable: it does not answer. Corrupt: it answers something else.

    """
    url = f"http://{host}/namespace/{namespace}/keep"
    headers = {BOOK_HEADER: book} if book else {}
    found: dict[Digest, int] = {}
    for at in range(0, len(digests), DIGESTS_MAX):
        body = Digests(digests=_texts(digests[at : at + DIGESTS_MAX]))
        sizes = await _ask(http, url, body, headers, KEEP_S)
        found.update(sizes)
    return found


async def keep_at(
    http: Http, asked: Mapping[Digest, Sequence[str]], health: Health, namespace: str, book: str
) -> tuple[dict[Digest, int], dict[str, Unavailable]]:
    """Touch each digest at the hosts named for it.

    Sizes in bytes of those that one has; and why hosts, those that are down above all, are silent.
    """
    by_host: dict[str, list[Digest]] = {}
    for digest, hosts in asked.items():
        for host in hosts:
            by_host.setdefault(host, []).append(digest)

    async def ask_patiently(host: str) -> dict[Digest, int]:
        return await keep(http, host, namespace, by_host[host], book)

    ask = briefly(by_host, health, ask_patiently, KEEP_DOWN_S)
    found: dict[Digest, int] = {}
    silent: dict[str, Unavailable] = {}

    async def ask_one(host: str) -> None:
        try:
            found.update(await first([host], health, ask))
        except Unavailable as fault:
            silent[host] = fault

    await asyncio.gather(*map(ask_one, by_host))
    return found, silent


async def condemn(http: Http, host: str, digests: Sequence[Digest]) -> set[Digest]:
    """Tell the origin ``host`` that ``digests`` (at most ``DIGESTS_MAX``) will leave backends.

    Returns those that it has, or is fetching.

    Raises:
        Unavailable: it does not answer. Corrupt: it answers something else.

    """
    body = Digests(digests=_texts(digests))
    url = f"http://{host}/internal/condemned"
    found = await http.json("POST", url, list[str], body=body, timeout_s=KEEP_S)
    try:
        return {Digest.parse(text) for text in found}
    except InvalidDigest as error:
        raise Corrupt("an origin answered what is no digest") from error


class OriginBlobs:
    """The blobs of the origin ``host``, as the collector of the book named ``book`` sees them."""

    def __init__(self, http: Http, host: str, book: Callable[[], str]) -> None:
        self._http = http
        self.host = host
        self._book = book

    async def books(self) -> list[str]:
        """The tag indexes that recorded manifests of blobs at this origin."""
        return await self._http.json("GET", f"http://{self.host}/books", list[str])

    async def untouched(
        self, untouched_s: float, after: Digest | None, count: int
    ) -> tuple[int, list[tuple[Digest, int]]]:
        """Blobs not touched for ``untouched_s``: the origin's limit in ns, digests and sizes.

        Raises:
            Unavailable: it does not answer. Corrupt: it answers something else.

        """
        query = f"untouched_s={untouched_s}&n={count}" + (f"&after={after}" if after else "")
        url = f"http://{self.host}/blobs?{query}"
        page = await self._http.json("GET", url, Untouched, timeout_s=COLLECT_S)
        return page.before_ns, list(_sizes({one.digest: one.size for one in page.blobs}).items())

    async def collect(self, digests: Sequence[Digest], before_ns: int) -> dict[Digest, int]:
        """Remove those of ``digests`` still untouched since ``before_ns``; sizes of what went.

        Raises:
            as ``untouched``; Misuse: another tag index refers to blobs there.

        """
        body = CollectRequest(digests=_texts(digests), before_ns=before_ns)
        url = f"http://{self.host}/collect"
        headers = {BOOK_HEADER: self._book()}
        return await _ask(self._http, url, body, headers, COLLECT_S)


class AllOriginBlobs:
    """The blobs of each of ``members``, those there are whenever they are gone through."""

    def __init__(self, http: Http, members: Members, book: Callable[[], str]) -> None:
        self._http = http
        self._members = members
        self._book = book

    def __iter__(self) -> Iterator[OriginBlobs]:
        return (OriginBlobs(self._http, host, self._book) for host in self._members.hosts)


async def _ask(
    http: Http, url: str, body: object, headers: Mapping[str, str], timeout_s: float
) -> dict[Digest, int]:
    reply = await http.call(
        "POST", url, data=msgspec.json.encode(body), timeout_s=timeout_s,
        headers={**headers, "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        return _sizes(msgspec.json.decode(reply.body, type=dict[str, int]))
    except msgspec.DecodeError as error:
        raise Corrupt(f"{url} answered something else: {error}") from error


def _sizes(told: Mapping[str, int]) -> dict[Digest, int]:
    try:
        return {Digest.parse(text): size for text, size in told.items()}
    except InvalidDigest as error:
        raise Corrupt("an origin answered what is no digest") from error


def _texts(digests: Iterable[Digest]) -> list[str]:
    return [str(digest) for digest in digests]
