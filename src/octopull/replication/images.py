"""Manifests to a remote: what each refers to before itself, nested indexes to their last layer."""

from octopull.backends import registry_changes
from octopull.backends.registry import RemoteRegistry
from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import KEPT_HEADER, MOVED_AT_HEADER, REPLICATED
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidManifest, NotFound
from octopull.kernel.names import TagName
from octopull.oci.manifests import MANIFEST_BYTES_MAX, media_type_of, parse
from octopull.replication.blobs import BlobCopies, by_us
from octopull.replication.book import Book
from octopull.runtime.tasks import each

DEPTH_MAX = 8
"""What is nested deeper was never recorded."""

CHILDREN_AT_ONCE = 4


class ImageCopies:
    """Manifests of this cluster to one remote; ``registry`` is that, ``blobs`` copies to it."""

    def __init__(
        self, registry: RemoteRegistry, origins: OriginCluster, blobs: BlobCopies, book: Book,
        streams: int,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._origins = origins
        self._blobs = blobs
        self._book = book
        self._streams = streams

    async def put_tag(self, name: TagName, content: bytes, at: float) -> bool:
        """Let the remote's tag stand for a manifest since ``at``; it has what is below that.

        False if the remote knows of a later change.

        Raises:
            MissingReference: it has not. Unsupported, UpstreamFailed: as ``put_below``.

        """
        answer = await registry_changes.put_manifest(
            self._registry, self._registry.place.repository(name.repository), name.tag, content,
            media_type_of(content), {MOVED_AT_HEADER: repr(at)},
        )  # fmt: skip
        return KEPT_HEADER not in answer

    async def put(self, repository: str, digest: Digest) -> None:
        """Let the remote have a manifest, and all that it leads to; raises as ``put_below``."""
        if not await self.has(repository, digest):
            await self._copy(repository, digest, DEPTH_MAX)

    async def put_referrers(self, repository: str, subject: Digest) -> None:
        """Let the remote have what refers to ``subject`` or to a part of it, and so on."""
        seen, waiting = {subject}, [subject]
        while waiting:
            at = waiting.pop()
            found = [*await self._book.referrers(repository, at)]
            for referrer in found:
                await self.put(repository, referrer)
            found += await self._children(repository, at)
            new = [one for one in dict.fromkeys(found) if one not in seen]
            seen.update(new)
            waiting += new

    async def has(self, repository: str, digest: Digest) -> bool:
        """Whether the remote has a manifest, and therefore all that it leads to."""
        there = self._registry.place.repository(repository)
        try:
            await self._registry.manifest_size(there, digest)
        except NotFound:
            return False
        return True

    async def _children(self, repository: str, digest: Digest) -> list[Digest]:
        manifest = parse(await self.read(repository, digest), None)
        return [one.digest for one in manifest.references if one.required and one.is_manifest]

    async def _copy(self, repository: str, digest: Digest, depth: int) -> None:
        if depth == 0:
            raise InvalidManifest("indexes are nested too deep", most=DEPTH_MAX)
        content = await self.put_below(repository, digest, depth)
        await registry_changes.put_manifest(
            self._registry, self._registry.place.repository(repository), digest, content,
            media_type_of(content), REPLICATED,
        )  # fmt: skip

    async def put_below(self, repository: str, digest: Digest, depth: int = DEPTH_MAX) -> bytes:
        """Let the remote have all that a manifest leads to but itself; its bytes.

        Raises:
            NotFound: part of it is gone here. Unsupported: the remote won't have it.
            Unavailable: the origins, or (``UpstreamFailed``) the remote.

        """
        content = await self.read(repository, digest)
        manifest = parse(content, None)

        async def child(one: Digest) -> None:
            if not await self.has(repository, one):
                await self._copy(repository, one, depth - 1)

        async def blob(one: Digest) -> None:
            await self._blobs.copy(repository, one)

        wanted = {one.digest: one.is_manifest for one in manifest.references if one.required}
        blobs = [one for one, is_manifest in wanted.items() if not is_manifest]
        await each(blobs, blob, self._streams)
        manifests = [one for one, is_manifest in wanted.items() if is_manifest]
        await each(manifests, child, CHILDREN_AT_ONCE)
        return content

    async def read(self, repository: str, digest: Digest) -> bytes:
        """The manifest's bytes.

        Raises:
            NotFound: it is gone here. Unavailable: the origins.

        """
        with by_us():
            return await self._origins.read(repository, digest, MANIFEST_BYTES_MAX)
