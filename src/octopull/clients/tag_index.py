"""How the other services speak to the tag index: tags, manifests, and what was deleted."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from octopull.clients.failover import first
from octopull.clients.fetching import patient
from octopull.http.client import Http, Reply
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest, NotFound
from octopull.kernel.names import TagName
from octopull.placement.health import Health

T = TypeVar("T")
PUT_S = 60.0
"""A put checks everything the manifest leads to before it answers."""

STALE_HEADER = "Octopull-Stale"
"""Why an answer may be old: its upstream could not be asked."""

SILENCE_S = 120.0
"""The index gives up asking an upstream before that."""

DELETED, RESTORED, COLLECTED = "deleted", "restored", "collected"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a digest in a repository; without a repository: of its bytes."""

    seq: int
    repository: str
    digest: str
    state: str


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The feed of deletions up to ``seq``, a number of the history named ``epoch``."""

    epoch: str
    seq: int
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a tag stands for; ``stale`` says why that may be old, and is empty if it is not."""

    digest: Digest
    stale: str = ""


class Referrers(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors of manifests about another one, and whether more follow."""

    manifests: list[msgspec.Raw]
    more: bool


class TagIndex:
    """The tag index of one cluster; ``hosts`` are ``host:port``, any of which may be asked."""

    def __init__(self, http: Http, hosts: Sequence[str]) -> None:
        self._http = http
        self._hosts = list(hosts)
        self._health = Health()

    # Tags.

    async def resolve(self, name: TagName) -> Digest:
        """The digest ``name`` stands for now.

        Raises:
            NotFound: no such tag. Unavailable: no index answers.

        """
        return (await self.resolution(name)).digest

    async def resolution(self, name: TagName) -> Resolution:
        """As ``resolve``, and whether the answer may be old."""

        async def ask(host: str) -> Reply:
            return await self._http.call("GET", f"http://{host}{_tag(name)}", bytes_max=200)

        async def ask_first() -> Reply:
            return await self._first(ask)

        reply = await patient(ask_first, SILENCE_S)
        text = reply.body.decode("ascii", "replace")
        try:
            return Resolution(Digest.parse(text), reply.headers.get(STALE_HEADER, ""))
        except InvalidDigest as error:
            raise Corrupt("a tag index answered something else", answer=text[:80]) from error

    async def delete_tag(self, name: TagName) -> None:
        """Forget a tag; what it stood for stays.

        Raises:
            NotFound: no such tag.

        """
        await self._call("DELETE", _tag(name))

    # Manifests and blobs of a repository.

    async def record(self, repository: str, digest: Digest, tags: Sequence[str] = ()) -> None:
        """Record a manifest and let ``tags`` stand for it; repeating it is safe.

        Raises:
            MissingReference: something it leads to is missing.

        """
        query = urlencode([("tag", tag) for tag in tags])
        await self._call("PUT", f"{_content(repository, 'manifests', digest)}?{query}", PUT_S)

    async def holds(self, repository: str, digest: Digest) -> bool:
        """Whether a manifest recorded in ``repository`` is ``digest`` or leads to it."""
        try:
            await self._call("GET", _content(repository, "manifests", digest))
        except NotFound:
            return False
        return True

    async def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Forget a manifest in ``repository``, with the tags on it.

        Raises:
            NotFound: it isn't there.

        """
        await self._call("DELETE", _content(repository, "manifests", digest))

    async def blob_pushed(self, repository: str, digest: Digest) -> None:
        """A blob exists in ``repository``, even if it was deleted there before."""
        await self._call("PUT", _content(repository, "blobs", digest))

    async def delete_blob(self, repository: str, digest: Digest) -> None:
        """A blob no longer exists in ``repository``."""
        await self._call("DELETE", _content(repository, "blobs", digest))

    async def deleted(self, repository: str, digest: Digest) -> bool:
        """Whether the digest was deleted from ``repository`` and not pushed there since."""
        try:
            await self._call("GET", f"/repositories/{quote(repository)}/deletions/{digest}")
        except NotFound:
            return False
        return True

    # What there is.

    async def tags(self, repository: str, count: int, last: str) -> list[str]:
        """Up to ``count`` tags of ``repository`` after ``last``, in order.

        Raises:
            NotFound: nothing was ever pushed to the repository.

        """
        return await self._get(
            f"/repositories/{quote(repository)}/tags", {"n": count, "last": last}, list[str]
        )

    async def repositories(self, count: int, last: str) -> list[str]:
        """Up to ``count`` repositories after ``last``, in order."""
        return await self._get("/repositories", {"n": count, "last": last}, list[str])

    async def referrers(
        self, repository: str, subject: Digest, artifact_type: str | None, count: int, last: str
    ) -> Referrers:
        """A page of up to ``count`` manifests about ``subject``, after the digest ``last``."""
        query = {"n": count, "last": last}
        if artifact_type is not None:
            query["artifactType"] = artifact_type
        path = f"/repositories/{quote(repository)}/referrers/{subject}"
        return await self._get(path, query, Referrers)

    async def changes(self, epoch: str, seq: int) -> Changes:
        """What was deleted behind ``seq``; from the start if ``epoch`` is not the index's."""
        return await self._get("/deletions", {"epoch": epoch, "after": seq}, Changes)

    async def ready(self) -> None:
        """Raises Unavailable when no index answers."""
        await self._call("GET", "/health", 3)

    async def _first(self, ask: Callable[[str], Awaitable[T]]) -> T:
        return await first(self._hosts, self._health, ask)

    async def _call(self, method: str, path: str, timeout_s: float = 10) -> None:
        async def ask(host: str) -> None:
            await self._http.call(method, f"http://{host}{path}", timeout_s=timeout_s)

        await self._first(ask)

    async def _get(self, path: str, query: Mapping[str, object], shape: type[T]) -> T:
        async def ask(host: str) -> T:
            return await self._http.json("GET", f"http://{host}{path}?{urlencode(query)}", shape)

        return await self._first(ask)


def _tag(name: TagName) -> str:
    return f"/tags/{quote(name.repository)}:{quote(name.tag)}"


def _content(repository: str, kind: str, digest: Digest) -> str:
    return f"/repositories/{quote(repository)}/{kind}/{digest}"
