"""The tag index's HTTP API; the paths of tags and lists are Kraken's."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import (
    HELD_MAX,
    KEPT_HEADER,
    OPERATION_HEADER,
    STALE_HEADER,
    Asked,
)  # fmt: skip
from octopull.http import queries
from octopull.http.server import json_answer
from octopull.kernel import documents, names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.kernel.names import TagName
from octopull.replication.moves import check_at
from octopull.services.tag_index import references
from octopull.services.tag_index.followed_tags import FollowedTags
from octopull.services.tag_index.pushes import Pushes
from octopull.services.tag_index.repositories import Repositories
from octopull.services.tag_index.store import TagStore
from octopull.services.tag_index.tag_write_back import TagWriteBack

PAGE_MAX = 10_000
NUMBER_MAX = 10**15 - 1
REASON_CHARS_MAX = 200
OPERATION_CHARS_MAX = 64
_ASKED = msgspec.json.Decoder(Asked)


class Api:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, store: TagStore, origins: OriginCluster, pushes: Pushes, followed: FollowedTags,
        repositories: Repositories, write_back: TagWriteBack,
    ) -> None:  # fmt: skip
        self._store = store
        self._followed = followed
        self._repositories = repositories
        self._write_back = write_back
        self._origins = origins
        self._pushes = pushes

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        repository = "/repositories/{repository:.+}"
        app.add_routes(
            [
                web.put("/tags/{tag:.+}/digest/{digest}", self.put),
                web.get("/tags/{tag:.+}", self.get),
                web.delete("/tags/{tag:.+}", self.delete_tag),
                web.get("/list/{prefix:.*}", self.list),
                web.get("/repositories", self.repositories),
                web.get(f"{repository}/tags", self.tags),
                web.put(f"{repository}/manifests/{{digest}}", self.record),
                web.get(f"{repository}/manifests/{{digest}}", self.holds),
                web.delete(f"{repository}/manifests/{{digest}}", self.delete_manifest),
                web.get(f"{repository}/referrers/{{digest}}", self.referrers),
                web.post(f"{repository}/held", self.held),
                web.get(f"{repository}/signed-above/{{digest}}", self.signed_above),
                web.put(f"{repository}/blobs/{{digest}}", self.blob_pushed),
                web.delete(f"{repository}/blobs/{{digest}}", self.delete_blob),
                web.get(f"{repository}/deletions/{{digest}}", self.deleted),
                web.get("/deletions", self.deletions),
                web.get("/write-back", self.progress),
            ]
        )

    async def put(self, request: web.Request) -> web.Response:
        """Record a manifest and let the tag stand for it, if all it leads to is there."""
        name = _tag(request)
        return await self._record(request, name.repository, _digest(request), [name.tag])

    async def get(self, request: web.Request) -> web.Response:
        """The tag's digest, as text."""
        found = await self._followed.resolve(_tag(request))
        headers = {"Cache-Control": "no-store", **_staleness(found.stale)}
        return web.Response(text=str(found.digest), headers=headers)

    async def delete_tag(self, request: web.Request) -> web.Response:
        """Forget the tag."""
        name = _tag(request)
        told = await self._repositories.delete_tag(name, _moved_at(request), _operation(request))
        return await self._deleted(name.repository, told)

    async def record(self, request: web.Request) -> web.Response:
        """Record a manifest and move the tags ``tag`` to it, if all it leads to is there."""
        tags = [names.tag(tag) for tag in request.query.getall("tag", [])]
        return await self._record(request, _repository(request), _digest(request), tags)

    async def _record(
        self, request: web.Request, repository: str, digest: Digest, tags: Sequence[str]
    ) -> web.Response:
        moved_at, operation = _moved_at(request), _operation(request)
        exempt = moved_at is not None or queries.flag(request, "replicated")
        with self._pushes.one():
            pushed, *below = await references.walk(self._origins, repository, digest)
            moved = await asyncio.to_thread(
                self._store.record, repository, pushed, below, tags, moved_at, operation,
                exempt=exempt,
            )  # fmt: skip
        if not moved:
            return web.Response(headers={KEPT_HEADER: "true"})
        await self._write_back.told(repository, [*tags, str(digest)])
        return web.Response()

    async def holds(self, request: web.Request) -> web.Response:
        """Whether the repository holds the manifest, or may: 200, else 404."""
        repository, digest = _repository(request), _digest(request)
        if not await self._repositories.holds(repository, digest):
            raise NotFound("no such manifest", repository=repository, digest=str(digest))
        return web.Response()

    async def delete_manifest(self, request: web.Request) -> web.Response:
        """Forget a manifest and the tags on it."""
        repository, digest = _repository(request), _digest(request)
        told = await self._repositories.delete_manifest(
            repository, digest, _moved_at(request), _operation(request)
        )
        return await self._deleted(repository, told)

    async def _deleted(self, repository: str, told: Sequence[str]) -> web.Response:
        if not told:
            return web.Response(status=202, headers={KEPT_HEADER: "true"})
        await self._write_back.told(repository, told)
        return web.Response(status=202)

    async def held(self, request: web.Request) -> web.Response:
        """Those of the digests in the body that the repository surely holds."""
        asked = documents.read(_ASKED.decode, await request.read(), "a list of digests")
        if len(asked.manifests) + len(asked.blobs) > HELD_MAX:
            raise Misuse("too many digests at once", most=HELD_MAX)
        manifests, blobs = (
            [Digest.parse(one) for one in digests] for digests in (asked.manifests, asked.blobs)
        )
        found = await self._repositories.held(_repository(request), manifests, blobs)
        return json_answer([str(one) for one in found])

    async def signed_above(self, request: web.Request) -> web.Response:
        """Manifests that lead to the digest, if only to its manifest, and may be signed."""
        repository, digest = _repository(request), _digest(request)
        as_manifest = queries.flag(request, "as_manifest")
        found = await asyncio.to_thread(
            self._store.holdings.signed_above, repository, digest, as_manifest=as_manifest
        )
        return json_answer([str(one) for one in found])

    async def blob_pushed(self, request: web.Request) -> web.Response:
        """Undo a deletion, if there was one; ``held``: remember that it was pushed just there.

        ``size``: so many bytes count for quotas; ``replicated``: whether or not there is room.
        """
        repository, digest = _repository(request), _digest(request)
        known = "size" in request.query
        size = queries.number(request, "size", 0, NUMBER_MAX) if known else None
        held, exempt = queries.flag(request, "held"), queries.flag(request, "replicated")
        await asyncio.to_thread(
            self._store.blob_pushed, repository, digest, size,
            held=held, exempt=exempt, operation=_operation(request),
        )  # fmt: skip
        return web.Response()

    async def delete_blob(self, request: web.Request) -> web.Response:
        """Let the blob no longer exist in the repository."""
        repository, digest = _repository(request), _digest(request)
        await asyncio.to_thread(self._store.delete_blob, repository, digest, _operation(request))
        return web.Response(status=202)

    async def deleted(self, request: web.Request) -> web.Response:
        """Whether the digest was deleted here: 200, else 404."""
        repository, digest = _repository(request), _digest(request)
        if not await asyncio.to_thread(self._store.deletions.has, repository, digest):
            raise NotFound("not deleted here")
        return web.Response()

    async def deletions(self, request: web.Request) -> web.Response:
        """The feed of deletions behind ``after``."""
        after = queries.number(request, "after", 0, NUMBER_MAX)
        epoch = request.query.get("epoch", "")
        return json_answer(await asyncio.to_thread(self._store.deletions.after, epoch, after))

    async def progress(self, _: web.Request) -> web.Response:
        """How much the stores have yet to be told, and what ails them."""
        return json_answer(await self._write_back.progress())

    async def tags(self, request: web.Request) -> web.Response:
        """A page of a repository's tags."""
        found, stale = await self._repositories.tags(_repository(request), *_page(request))
        answer = json_answer(found)
        answer.headers.update(_staleness(stale))
        return answer

    async def list(self, request: web.Request) -> web.Response:
        """A page of ``repository:tag`` names that begin with the prefix."""
        prefix = request.match_info["prefix"]
        return json_answer(await asyncio.to_thread(self._store.names, prefix, *_page(request)))

    async def repositories(self, request: web.Request) -> web.Response:
        """A page of repositories."""
        return json_answer(await asyncio.to_thread(self._store.repositories, *_page(request)))

    async def referrers(self, request: web.Request) -> web.Response:
        """A page of descriptors of the manifests about a digest."""
        repository, subject = _repository(request), _digest(request)
        artifact_type = request.query.get("artifactType")
        page = _page(request)
        return json_answer(
            await asyncio.to_thread(
                self._store.referrers, repository, subject, artifact_type, *page
            )
        )


def _staleness(reason: str) -> dict[str, str]:
    """The header that says why an answer may be old, as far as a header may hold it."""
    told = " ".join(reason.encode("ascii", "replace").decode().split())[:REASON_CHARS_MAX]
    return {STALE_HEADER: told} if told else {}


def _operation(request: web.Request) -> str:
    """What its sender calls it, if it may have sent it before.

    Raises:
        Misuse: no name of an operation.

    """
    name = request.headers.get(OPERATION_HEADER, "")
    if len(name) > OPERATION_CHARS_MAX:
        raise Misuse("an operation's name is too long", most=OPERATION_CHARS_MAX)
    return name


def _tag(request: web.Request) -> TagName:
    return TagName.parse(request.match_info["tag"])


def _repository(request: web.Request) -> str:
    return names.repository(request.match_info["repository"])


def _digest(request: web.Request) -> Digest:
    return Digest.parse(request.match_info["digest"])


def _moved_at(request: web.Request) -> float | None:
    """When a change was made that another cluster tells of; None if a client makes it now."""
    at = queries.seconds(request, "moved_at", 0.0)
    return check_at(at, time.time()) if at else None


def _page(request: web.Request) -> tuple[int, str]:
    count = queries.number(request, "n", PAGE_MAX, NUMBER_MAX)
    return min(count, PAGE_MAX), request.query.get("last", "")
