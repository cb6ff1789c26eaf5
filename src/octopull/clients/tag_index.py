"""How the other services speak to the tag index: tags, manifests, and what was deleted."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from octopull.clients.failover import first, first_heard
from octopull.clients.fetching import patient
from octopull.clients.quotas import ArrivingBlobs
from octopull.http.client import Http, Reply
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest, NotFound
from octopull.kernel.names import TagName
from octopull.placement.members import Members

T = TypeVar("T")
PUT_S = 60.0
"""A put checks everything the manifest leads to before it answers."""

STALE_HEADER = "Octopull-Stale"
"""Why an answer may be old: the tag's upstream or store could not be asked."""

MOVED_AT_HEADER = "Octopull-Moved-At"
"""When a client made a change that another cluster tells of: seconds since the epoch."""

REPLICATED: Mapping[str, str] = MappingProxyType({MOVED_AT_HEADER: "0"})
"""Said with all that another cluster sends besides: it is no change of a tag, so it has no time."""

KEPT_HEADER = "Octopull-Kept"
"""That a change made no difference, since a later one is known."""

TAGS_BYTES_MAX = 2 * 1024 * 1024
"""A page of 10,000 tags of 128 characters."""

OPERATION_HEADER = "Octopull-Operation"
"""A name by chance, the same each time one change is asked for, so that it happens once."""

SILENCE_S = 120.0
"""The index gives up asking an upstream before that."""

HELD_MAX = 1000
"""Digests in one question of what a repository holds."""

ROOM_S = 30.0
"""What a large namespace holds must be measured if little room is left."""

DELETED, RESTORED, COLLECTED = "deleted", "restored", "collected"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a digest in a repository; without a repository: of its bytes."""

    seq: int
    repository: str
    digest: str
    state: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of which it is to be said whether a repository holds them."""

    manifests: list[str] = []
    blobs: list[str] = []


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


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of tags; ``stale`` says why some may be missing, and is empty if none are."""

    tags: list[str]
    stale: str = ""


class Referrers(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors of manifests about another one, and whether more follow."""

    manifests: list[msgspec.Raw]
    more: bool


class TagIndex:
    """The tag index of one cluster; ``hosts`` are ``host:port``, or members that come and go.

    Any of them may be asked.
    """

    def __init__(self, http: Http, hosts: Sequence[str] | Members) -> None:
        self._http = http
        self._members = Members.of(hosts)
        self._health = self._members.health

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
            return await self._heard(ask)

        reply = await patient(ask_first, SILENCE_S)
        text = reply.body.decode("ascii", "replace")
        try:
            return Resolution(Digest.parse(text), reply.headers.get(STALE_HEADER, ""))
        except InvalidDigest as error:
            raise Corrupt("a tag index answered something else", answer=text[:80]) from error

    async def delete_tag(self, name: TagName, moved_at: float | None = None) -> bool:
        """Forget a tag; what it stood for stays. ``moved_at``, and False: as for ``record``.

        Raises:
            NotFound: no such tag.

        """
        reply = await self._change("DELETE", f"{_tag(name)}{_since(moved_at)}")
        return KEPT_HEADER not in reply.headers

    # Manifests and blobs of a repository.

    async def record(
        self, repository: str, digest: Digest, tags: Sequence[str] = (),
        moved_at: float | None = None, *, replicated: bool = False,
    ) -> bool:  # fmt: skip
        """Record a manifest and let ``tags`` stand for it; repeating it is safe.

        ``moved_at``: another cluster tells of it, where a client did so then. False, and nothing
        happens, if later changes of all ``tags`` are known. ``replicated``: another cluster sends
        it, and no quota refuses it.

        Raises:
            MissingReference: something it leads to is missing. Denied: a quota would be exceeded.

        """
        moved = [] if moved_at is None else [("moved_at", repr(moved_at))]
        sent = [("replicated", "1")] if replicated else []
        query = urlencode([*(("tag", tag) for tag in tags), *moved, *sent])

        path = f"{_content(repository, 'manifests', digest)}?{query}"
        return KEPT_HEADER not in (await self._change("PUT", path, PUT_S)).headers

    async def holds(self, repository: str, digest: Digest) -> bool:
        """Whether a manifest recorded in ``repository`` is ``digest`` or leads to it."""
        try:
            await self._see(_content(repository, "manifests", digest))
        except NotFound:
            return False
        return True

    async def delete_manifest(
        self, repository: str, digest: Digest, moved_at: float | None = None
    ) -> bool:
        """Forget a manifest in ``repository``, with the tags on it.

        ``moved_at``: as for ``record``. False, and nothing happens, if a tag was moved to it later.

        Raises:
            NotFound: it isn't there.

        """
        path = _content(repository, "manifests", digest)
        reply = await self._change("DELETE", f"{path}{_since(moved_at)}")
        return KEPT_HEADER not in reply.headers

    async def held(
        self, repository: str, *, manifests: Sequence[Digest] = (), blobs: Sequence[Digest] = ()
    ) -> set[Digest]:
        """Those that ``repository`` surely holds: ``manifests`` as such, ``blobs`` as whatever.

        Unlike ``holds``, which is in doubt for upstreams' and stores' repositories.

        Raises:
            UpstreamFailed: an upstream would have to be asked, and can't be.

        """
        found: set[Digest] = set()
        every = [(True, one) for one in manifests] + [(False, one) for one in blobs]
        for start in range(0, len(every), HELD_MAX):
            some = every[start : start + HELD_MAX]
            asked = Asked(
                manifests=[str(one) for is_manifest, one in some if is_manifest],
                blobs=[str(one) for is_manifest, one in some if not is_manifest],
            )
            found.update(await self._held(repository, asked))
        return found

    async def signed_above(
        self, repository: str, digest: Digest, *, as_manifest: bool
    ) -> list[Digest]:
        """Manifests in ``repository`` that are or lead to ``digest``, and may be signed there.

        ``as_manifest``: only indexes lead to what is wanted as one.
        """
        path = _content(repository, "signed-above", digest)
        found = await self._get(path, {"as_manifest": int(as_manifest)}, list[str])
        try:
            return [Digest.parse(one) for one in found]
        except InvalidDigest as error:
            raise Corrupt("a tag index answered something else") from error

    async def _held(self, repository: str, asked: Asked) -> Sequence[Digest]:
        async def ask(host: str) -> list[str]:
            url = f"http://{host}/repositories/{quote(repository)}/held"
            return await self._http.json("POST", url, list[str], body=asked, timeout_s=SILENCE_S)

        try:
            return [Digest.parse(one) for one in await self._heard(ask)]
        except InvalidDigest as error:
            raise Corrupt("a tag index answered something else") from error

    async def blob_pushed(
        self, repository: str, digest: Digest, size: int | None = None, *,
        to_be_held: bool = False, replicated: bool = False,
    ) -> None:  # fmt: skip
        """A blob exists in ``repository``, even if it was deleted there before.

        ``to_be_held``: the repository is to hold it from now on, though nothing refers to it yet.
        ``size``, in bytes, is what quotas count; ``replicated``: as for ``record``.

        Raises:
            Denied: a quota would be exceeded.

        """
        told = {"held": int(to_be_held), "replicated": int(replicated), "size": size}
        query = urlencode({name: value for name, value in told.items() if value})
        path = _content(repository, "blobs", digest)
        await self._change("PUT", f"{path}?{query}" if query else path)

    async def room(
        self, repository: str, sizes: Mapping[Digest, int], more: int
    ) -> Mapping[str, int]:
        """By quota, how many bytes may be added to what ``repository`` holds; none: no quota.

        Raises:
            Denied: what arrives, by ``sizes`` in bytes and ``more`` besides, does not fit.
            NotFound: the tag index knows no quotas.

        """
        arriving = ArrivingBlobs(sizes={str(one): size for one, size in sizes.items()}, more=more)

        async def ask(host: str) -> dict[str, int]:
            url = f"http://{host}/repositories/{quote(repository)}/room"
            shape = dict[str, int]
            return await self._http.json("POST", url, shape, body=arriving, timeout_s=ROOM_S)

        return await self._heard(ask)

    async def delete_blob(self, repository: str, digest: Digest) -> None:
        """A blob no longer exists in ``repository``."""
        await self._change("DELETE", _content(repository, "blobs", digest))

    async def deleted(self, repository: str, digest: Digest) -> bool:
        """Whether the digest was deleted from ``repository`` and not pushed there since."""
        try:
            await self._see(f"/repositories/{quote(repository)}/deletions/{digest}")
        except NotFound:
            return False
        return True

    # What there is.

    async def tags(self, repository: str, count: int, last: str) -> Listed:
        """Up to ``count`` tags of ``repository`` after ``last``, in order.

        Raises:
            NotFound: nothing was ever pushed to the repository.
            UpstreamFailed: the store that may have it can't tell.

        """
        query = urlencode({"n": count, "last": last})

        async def ask(host: str) -> Reply:
            url = f"http://{host}/repositories/{quote(repository)}/tags?{query}"
            return await self._http.call("GET", url, bytes_max=TAGS_BYTES_MAX)

        async def ask_first() -> Reply:
            return await self._heard(ask)

        reply = await patient(ask_first, SILENCE_S)
        try:
            tags = msgspec.json.decode(reply.body, type=list[str])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corrupt("a tag index answered something else") from error
        return Listed(tags, reply.headers.get(STALE_HEADER, ""))

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
        await self._see("/health", 3)

    async def _heard(self, ask: Callable[[str], Awaitable[T]]) -> T:
        """What one says, whichever: for questions, which may be asked of several."""
        return await first_heard(self._members.hosts, self._health, ask)

    async def _see(self, path: str, timeout_s: float = 10) -> None:
        async def ask(host: str) -> None:
            await self._http.call("GET", f"http://{host}{path}", timeout_s=timeout_s)

        await self._heard(ask)

    async def _change(self, method: str, path: str, timeout_s: float = 10) -> Reply:
        """Have something changed, once, however many must be asked for it."""
        headers = {OPERATION_HEADER: os.urandom(16).hex()}

        async def ask(host: str) -> Reply:
            url = f"http://{host}{path}"
            return await self._http.call(method, url, headers=headers, timeout_s=timeout_s)

        return await first(self._members.hosts, self._health, ask)

    async def _get(self, path: str, query: Mapping[str, object], shape: type[T]) -> T:
        async def ask(host: str) -> T:
            return await self._http.json("GET", f"http://{host}{path}?{urlencode(query)}", shape)

        return await self._heard(ask)


def _tag(name: TagName) -> str:
    return f"/tags/{quote(name.repository)}:{quote(name.tag)}"


def _content(repository: str, kind: str, digest: Digest) -> str:
    return f"/repositories/{quote(repository)}/{kind}/{digest}"


def _since(moved_at: float | None) -> str:
    return "" if moved_at is None else f"?moved_at={moved_at!r}"
