"""What a repository holds, as far as deletion says otherwise than the origins."""

import asyncio

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.observability import logs

log = logs.get("proxy")


class Repositories:
    """Origins know blobs, the tag index knows what was deleted from which repository.

    ``to_be_held``: it has to remember what was pushed to which, too.
    """

    def __init__(self, origins: OriginCluster, tags: TagIndex, *, to_be_held: bool) -> None:
        self._origins = origins
        self._tags = tags
        self._to_be_held = to_be_held

    async def size(self, repository: str, digest: Digest) -> int:
        """Bytes of content that exists in ``repository``.

        Raises:
            NotFound: it doesn't. Unavailable: the origins could not be asked.

        """
        size, _ = await asyncio.gather(
            self._origins.stat(repository, digest), self.check(repository, digest)
        )
        return size

    async def keep(self, repository: str, digest: Digest) -> int:
        """As ``size``; and garbage collection leaves it, so that a push may now refer to it.

        What nobody was told to be there is not, though some origin is away: else a client that looks
        before it pushes could not push while one is.
        """
        size, _ = await asyncio.gather(
            self.kept(repository, digest), self.check(repository, digest)
        )
        return size

    async def kept(self, repository: str, digest: Digest) -> int:
        """As ``keep``, even of what was deleted here."""
        kept = await self._origins.keep(repository, [digest], self._origins.silent_max)
        if digest not in kept:
            raise NotFound("no such blob")
        return kept[digest]

    async def check(self, repository: str, digest: Digest) -> None:
        """Raise NotFound if the content was deleted here.

        While no tag index answers nothing counts as deleted: reads by digest go on.
        """
        try:
            deleted = await self._tags.deleted(repository, digest)
        except Unavailable as fault:
            log.warning("deletions.unknown", repository=repository, reason=str(fault))
            return
        if deleted:
            raise NotFound("deleted from this repository")

    async def check_manifest(self, repository: str, digest: Digest) -> None:
        """Raise NotFound if ``repository`` holds no such manifest; while unknown, it may."""
        try:
            held = await self._tags.holds(repository, digest)
        except Unavailable as fault:
            log.warning("manifests.unknown", repository=repository, reason=str(fault))
            return
        if not held:
            raise NotFound("not in this repository")

    async def pushed(
        self, repository: str, digest: Digest, size: int | None, *, replicated: bool
    ) -> None:
        """The blob exists in ``repository``; to be told before its push is acknowledged.

        ``size``, in bytes, counts for quotas if there are any, which refuse nothing ``replicated``.

        Raises:
            Denied: a quota would be exceeded.

        """
        await self._tags.blob_pushed(
            repository, digest, size, to_be_held=self._to_be_held, replicated=replicated
        )

    async def delete_blob(self, repository: str, digest: Digest) -> None:
        """Let a blob no longer exist in ``repository``; its bytes are left to collection.

        Raises:
            NotFound: it doesn't exist there.

        """
        await self.size(repository, digest)
        await self._tags.delete_blob(repository, digest)
