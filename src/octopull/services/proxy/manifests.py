"""Manifests through the proxy (distribution-spec 1.1, end-3, end-7 and end-9)."""

import math
from collections.abc import Sequence

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import KEPT_HEADER, MOVED_AT_HEADER, Resolution, TagIndex
from octopull.http.streams import read_manifest
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    InvalidDigest,
    InvalidManifest,
    Misuse,
    NotFound,
    TooLarge,
    Unsupported,
)  # fmt: skip
from octopull.kernel.names import TagName
from octopull.oci.manifests import MANIFEST_BYTES_MAX, Manifest, missing, parse
from octopull.registry import targets
from octopull.registry.access.private import Private
from octopull.registry.headers import VERSION_HEADER, about, not_modified, unchanged
from octopull.registry.pull_through import staleness
from octopull.services.proxy.repositories import Repositories
from octopull.services.proxy.rooms import Rooms, is_replicated

TAGS_MAX = 100
"""Tags set by one push."""


class ManifestsApi:
    """HEAD, GET, PUT and DELETE of manifests, by tag and by digest."""

    def __init__(
        self, origins: OriginCluster, tags: TagIndex, repositories: Repositories,
        private: Private | None, rooms: Rooms,
    ) -> None:  # fmt: skip
        self._private = private
        self._rooms = rooms
        self._origins = origins
        self._tags = tags
        self._repositories = repositories

    async def get(self, request: web.Request) -> web.Response:
        """The exact bytes that were pushed."""
        repository, reference = targets.manifest(request)
        try:
            found = await self._resolve(repository, reference)
            digest = found.digest
            demanded = self._demanded(request, repository, reference)
            if unchanged(request, digest) and not demanded:
                await self._origins.stat(repository, digest)
                return not_modified(digest)
            content = await self._origins.read(repository, digest, MANIFEST_BYTES_MAX)
            manifest = parse(content, None)
        except (NotFound, TooLarge, InvalidManifest, Unsupported) as fault:
            raise targets.no_manifest() from fault
        if self._private is not None:
            if demanded:
                await self._private.signed.check_manifest(repository, digest, content, manifest)
            self._private.learn(repository, digest, manifest)
        headers = {
            **about(digest),
            **staleness(found.stale),
            "Content-Type": manifest.media_type.value,
        }
        return web.Response(body=content, headers=headers)

    async def put(self, request: web.Request) -> web.Response:
        """Store the bytes and, for a tag, let it stand for them; refused if parts are missing.

        A push by digest may name tags as well (``?tag=``, of the next version of the spec).
        """
        repository = names.repository(request.match_info["repository"])
        reference = names.reference(request.match_info["reference"])
        tags = _tags(reference, request.query.getall("tag", []))
        content = await read_manifest(request.content)
        manifest = parse(content, request.headers.get("Content-Type"))
        digest = reference if isinstance(reference, Digest) else Digest.of(content)
        if not digest.proves(content):
            raise InvalidDigest("the manifest has another digest", claimed=str(digest))
        sizes = await self._check_references(repository, manifest)
        if self._private is not None:
            await self._private.check_references(repository, manifest)
        replicated = is_replicated(request)
        if not replicated:
            await self._rooms.check(repository, {**sizes, digest: len(content)})
        await self._origins.uploads.push(repository, digest, content)
        moved = await self._tags.record(
            repository, digest, tags, _moved_at(request), replicated=replicated
        )
        headers = {**about(digest), "Location": f"/v2/{repository}/manifests/{digest}"}
        if manifest.subject is not None:
            headers["OCI-Subject"] = str(manifest.subject)
        if tags and isinstance(reference, Digest):
            headers["OCI-Tag"] = ", ".join(tags)
        if not moved:
            headers[KEPT_HEADER] = "true"
        return web.Response(status=201, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a tag; or a manifest in this repository, with the tags on it."""
        repository, reference = targets.manifest(request)
        try:
            if isinstance(reference, Digest):
                done = await self._tags.delete_manifest(repository, reference, _moved_at(request))
            else:
                name = TagName(repository, reference)
                done = await self._tags.delete_tag(name, _moved_at(request))
        except NotFound as fault:
            raise targets.no_manifest() from fault
        kept = {} if done else {KEPT_HEADER: "true"}
        return web.Response(status=202, headers={**VERSION_HEADER, **kept})

    def _demanded(self, request: web.Request, repository: str, reference: Digest | str) -> bool:
        """Whether what is asked for must be signed.

        Who may push is told what is there, and reads manifests by digest: whoever signs an image
        has to. Others are not told by HEAD, either: a client that has the image already, from
        elsewhere, would run it by this name.
        """
        private = self._private
        if private is None or not private.signed.demanded(repository):
            return False
        looks = request.method == "HEAD" or isinstance(reference, Digest)
        return not (looks and private.may_sign(request, repository))

    async def _resolve(self, repository: str, reference: Digest | str) -> Resolution:
        if isinstance(reference, str):
            return await self._tags.resolution(TagName(repository, reference))
        if self._private is None:
            await self._repositories.check_manifest(repository, reference)
        else:
            await self._private.check_manifest(repository, reference)
        return Resolution(reference)

    async def _check_references(self, repository: str, manifest: Manifest) -> dict[Digest, int]:
        """Sizes in bytes of what it needs, before anything is stored.

        The tag index looks deeper, into the images of an index.
        """
        wanted = [one.digest for one in manifest.references if one.required]
        kept = await self._origins.keep(repository, wanted)
        for digest in wanted:
            if digest not in kept:
                raise missing(digest)
        return kept


def _tags(reference: Digest | str, also: Sequence[str]) -> list[str]:
    """The tags that a push sets."""
    if len(also) > TAGS_MAX:
        raise Misuse("too many tags in one push", most=TAGS_MAX)
    named = [reference] if isinstance(reference, str) else []
    return list(dict.fromkeys([*named, *(names.tag(tag) for tag in also)]))


def _moved_at(request: web.Request) -> float | None:
    """When a change was made that another cluster tells of; None if a client makes it now.

    Raises:
        Misuse: that is no time.

    """
    try:
        at = float(request.headers.get(MOVED_AT_HEADER, "0"))
    except ValueError:
        at = math.nan
    if not 0 <= at < math.inf:
        raise Misuse(f"{MOVED_AT_HEADER} is a number of seconds")
    return at or None
