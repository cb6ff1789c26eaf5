"""Where a remote differs from this cluster: repositories, tags and digests, by the OCI API alone."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from octopull.backends.registry_tags import TAGS_MAX, RegistryTags
from octopull.clients.replication import Compared
from octopull.kernel.digest import Digest
from octopull.kernel.names import TagName
from octopull.replication.book import Book, Listed
from octopull.replication.remote import Remote
from octopull.replication.rules import Route
from octopull.runtime.tasks import each

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of what the rules send to ``remote``."""

    book: Book
    remote: Remote

    async def repositories(self) -> AsyncGenerator[Compared, None]:
        """Each repository that goes there, compared.

        Raises:
            UpstreamFailed: the remote fails. Unavailable: the book does.

        """
        last = ""
        while page := await self.book.repositories(last):
            for repository in page:
                route = self.remote.route(repository)
                if route is not None:
                    yield await self._compare(await self.book.listed(repository), route)
            last = page[-1]

    async def _compare(self, here: Listed, route: Route) -> Compared:
        registry = self.remote.telling.registry
        theirs = await RegistryTags(registry, writable=False).list(here.name, "", TAGS_MAX)
        there = set(theirs)
        moved = await self._moved(here, sorted(here.tags.keys() & there))
        deleted = sorted(there.intersection(here.deleted)) if route.deletes else []
        unsigned = await self._unsigned(here) if route.referrers else []
        return Compared(
            repository=here.name,
            tags=len(here.tags),
            lacking=sorted(here.tags.keys() - there),
            moved=moved,
            deleted=deleted,
            referrers=[str(one) for one in unsigned],
            only_there=len(there - here.tags.keys() - set(deleted)),
        )

    async def _moved(self, here: Listed, tags: Sequence[str]) -> list[str]:
        """Those that stand for something else there."""
        found: list[str] = []

        async def compare(tag: str) -> None:
            theirs = await self.remote.telling.stands_for(TagName(here.name, tag))
            if theirs != here.tags[tag]:
                found.append(tag)

        await each(tags, compare, AT_ONCE)
        return sorted(found)

    async def _unsigned(self, here: Listed) -> list[Digest]:
        """Referrers that the remote lacks."""
        found: list[Digest] = []

        async def look(digest: Digest) -> None:
            if not await self.remote.telling.images.has(here.name, digest):
                found.append(digest)

        await each(here.referrers, look, AT_ONCE)
        return found


async def reconcile(
    comparison: Comparison, *, dry_run: bool, overwrite: bool
) -> AsyncGenerator[Compared, None]:
    """What differs, and (unless ``dry_run``) tasks to mend it.

    ``overwrite``: what stands here counts, though it was moved there later.

    Raises:
        as ``Comparison.repositories``.

    """
    name = comparison.remote.settings.name
    async for one in comparison.repositories():
        if one.differs and not dry_run:
            await comparison.book.tell(
                name, one.repository, [*one.lacking, *one.moved, *one.deleted], overwrite=overwrite
            )
            await comparison.book.tell(name, one.repository, one.referrers, overwrite=False)
        yield one
