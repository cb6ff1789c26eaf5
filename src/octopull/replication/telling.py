"""What one remote is told of a tag or manifest: what the book says now, whatever it said before."""

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from octopull.backends import registry_changes
from octopull.backends.registry import RemoteRegistry
from octopull.clients.tag_index import KEPT_HEADER, MOVED_AT_HEADER
from octopull.kernel.digest import Digest
from octopull.kernel.errors import MissingReference, NotFound, Unsupported
from octopull.kernel.names import TagName
from octopull.observability import logs
from octopull.replication.book import Book
from octopull.replication.images import ImageCopies
from octopull.replication.moves import Move
from octopull.replication.rules import Route

log = logs.get("replication")


class Outcome(StrEnum):
    """What came of it."""

    COPIED = "copied"
    SAME = "same"
    """The remote had it."""
    KEPT = "kept"
    """The remote knows of a later change, and keeps that."""
    DELETED = "deleted"
    UNDELETED = "undeleted"
    """The remote does not delete that: few registries delete a tag alone."""
    SKIPPED = "skipped"
    """The rules leave it out, it is gone, or it moved on: then it is told of again."""


@dataclass(frozen=True, slots=True)
class Telling:
    """Tells the remote at ``registry``, to which ``images`` copies."""

    registry: RemoteRegistry
    images: ImageCopies
    book: Book

    async def tag(self, name: TagName, route: Route) -> Outcome:
        """Let the remote's tag stand for what it stands for here, or delete it there.

        Raises:
            as ``ImageCopies.put_tag`` and ``put_below``.

        """
        digest = (await self.book.move(name)).digest
        if digest is None:
            return await self._delete_tag(name, route)
        if await self.stands_for(name) == digest:
            outcome = await self._put_again(name, digest)
        else:
            content = await self.images.put_below(name.repository, digest)
            outcome = await self._put(name, digest, content)
        # They may have been broken off, and the tag alone be there.
        if route.referrers and outcome in {Outcome.COPIED, Outcome.SAME}:
            await self.images.put_referrers(name.repository, digest)
        return outcome

    async def _put_again(self, name: TagName, digest: Digest) -> Outcome:
        """Only so that the remote knows since when, and its next move is later."""
        with suppress(MissingReference, Unsupported):
            content = await self.images.read(name.repository, digest)
            await self._put(name, digest, content)
        return Outcome.SAME

    async def _put(self, name: TagName, digest: Digest, content: bytes) -> Outcome:
        move = await self._move_now(name)
        if move.digest != digest:
            return Outcome.SKIPPED
        put = await self.images.put_tag(name, content, move.at)
        return Outcome.COPIED if put else Outcome.KEPT

    async def _move_now(self, name: TagName) -> Move:
        await self.book.confirm()
        return await self.book.move(name)

    async def stands_for(self, name: TagName) -> Digest | None:
        """The digest of the remote's tag, if it has one."""
        there = self.registry.place.repository(name.repository)
        try:
            return await self.registry.tag(there, name.tag)
        except NotFound:
            return None

    async def _delete_tag(self, name: TagName, route: Route) -> Outcome:
        move = await self._move_now(name)
        # A tag that nobody is known to have deleted may be the remote's own.
        if not route.deletes or move.digest is not None or move.at == 0:
            return Outcome.SKIPPED
        return await self._delete(name.repository, name.tag, move.at)

    async def manifest(self, repository: str, digest: Digest, route: Route) -> Outcome:
        """Let the remote have a referrer, or delete there a manifest that was deleted here.

        Raises:
            as ``ImageCopies.put_below``.

        """
        await self.book.confirm()
        standing = await self.book.standing(repository, digest)
        if standing.recorded:
            if not (route.referrers and standing.referrer):
                return Outcome.SKIPPED
            await self.images.put(repository, digest)
            return Outcome.COPIED
        if not route.deletes or standing.deleted_at is None:
            return Outcome.SKIPPED
        return await self._delete(repository, digest, standing.deleted_at)

    async def _delete(self, repository: str, reference: Digest | str, at: float) -> Outcome:
        registry = self.registry
        path, headers = f"manifests/{reference}", {MOVED_AT_HEADER: repr(at)}
        try:
            answer = await registry_changes.delete(
                registry, registry.place.repository(repository), path, headers
            )
        except Unsupported as fault:
            log.warning("not_deleted", remote=registry.place.name, repository=repository,
                        reference=str(reference), reason=str(fault))  # fmt: skip
            return Outcome.UNDELETED
        return Outcome.KEPT if KEPT_HEADER in answer else Outcome.DELETED
