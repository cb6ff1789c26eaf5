"""What repositories hold, by the book and by the stores that their tags are in, too."""

import asyncio
from collections.abc import Sequence

from octopull.backends.tag_opening import OpenedTags
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unsupported, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.services.tag_index.listings import Listing, Listings
from octopull.services.tag_index.store import TagStore
from octopull.services.tag_index.tag_sources import TagSource, TagSources

VOUCHERS_MAX = 100_000


class Repositories:
    """Asks ``store`` first, and the stores of ``sources`` for what only they may know."""

    def __init__(self, store: TagStore, sources: TagSources, listings: Listings) -> None:
        self._store = store
        self._sources = sources
        self._listings = listings
        self._vouchers: dict[tuple[str, Digest, bool], None] = {}

    async def holds(self, repository: str, digest: Digest) -> bool:
        """Whether the repository holds the manifest, or may, where nobody knows them all.

        Raises:
            UpstreamFailed: the store can't tell.

        """
        if await asyncio.to_thread(self._store.holds, repository, digest):
            return True
        source = self._sources.of(repository)
        if source is None:
            return False
        if self._sources.upstream(repository):
            return True
        pending = await asyncio.to_thread(self._store.tasks.pending, repository, str(digest))
        return not pending and await self._may_hold(repository, digest)

    async def held(
        self, repository: str, manifests: Sequence[Digest], blobs: Sequence[Digest]
    ) -> list[Digest]:
        """Those that ``repository`` surely holds, each as what it is asked for.

        Raises:
            UpstreamFailed: the store or upstream that may hold one can't tell.

        """
        found = await asyncio.to_thread(self._in_book, repository, manifests, blobs)
        source = self._sources.of(repository)
        if source is not None:
            kinds = (dict.fromkeys(manifests, True), dict.fromkeys(blobs, False))
            for digest, is_manifest in (pair for kind in kinds for pair in kind.items()):
                if digest not in found and await self._vouched(
                    source, repository, digest, is_manifest=is_manifest
                ):
                    found.append(digest)
        return found

    def _in_book(
        self, repository: str, manifests: Sequence[Digest], blobs: Sequence[Digest]
    ) -> list[Digest]:
        holdings = self._store.holdings
        found = [one for one in manifests if holdings.held_as_manifest(repository, one)]
        return found + [one for one in blobs if holdings.held(repository, one)]

    async def _vouched(
        self, source: TagSource, repository: str, digest: Digest, *, is_manifest: bool
    ) -> bool:
        """Whether the source says that the repository has it; asked once, as digests stay."""
        key = repository, digest, is_manifest
        if key not in self._vouchers:
            if not await source.vouches(repository, digest, is_manifest=is_manifest):
                return False
            self._vouchers[key] = None
            while len(self._vouchers) > VOUCHERS_MAX:
                del self._vouchers[next(iter(self._vouchers))]
        return not await asyncio.to_thread(self._store.deletions.has, repository, digest)

    async def _may_hold(self, repository: str, digest: Digest) -> bool:
        """Whether the store has the manifest; where it can't say, unless that was deleted here."""
        backend = self._sources.backend(repository)
        if backend is not None and backend.links is not None:
            return await backend.links.holds(repository, digest)
        return not await asyncio.to_thread(self._store.deletions.has, repository, digest)

    async def delete_tag(
        self, name: TagName, moved_at: float | None = None, operation: str = ""
    ) -> list[str]:
        """Forget a tag; returns what the store is to be told of, nothing if it moved later.

        ``moved_at`` and ``operation``: as for ``TagStore``.

        Raises:
            NotFound: no such tag. UpstreamFailed: only the store may have it, and can't tell.
            Unsupported: it is the store's, which is only read.

        """
        backend = self._sources.backend(name.repository)
        if backend is None:
            done = await asyncio.to_thread(self._store.delete_tag, name, moved_at, operation)
            return [name.tag] if done else []
        standing = await asyncio.to_thread(self._store.standing, name)
        if standing.digest is None and standing.pending:
            raise NotFound("no such tag", tag=str(name))
        theirs = standing.digest is None or standing.store == backend.settings.url
        if theirs and not backend.lane:
            await backend.tags.get(name)
            raise _read_only(backend)
        try:
            done = await asyncio.to_thread(self._store.delete_tag, name, moved_at, operation)
        except NotFound:
            await backend.tags.get(name)
            await asyncio.to_thread(self._store.forget, name.repository, name.tag)
            done = True
        return [name.tag] if done else []

    async def delete_manifest(
        self, repository: str, digest: Digest, moved_at: float | None = None, operation: str = ""
    ) -> list[str]:
        """Forget a manifest and the tags on it; otherwise as ``delete_tag``."""
        backend = self._sources.backend(repository)
        try:
            return await asyncio.to_thread(
                self._store.delete_manifest, repository, digest, moved_at, operation
            )
        except NotFound:
            if backend is None or backend.links is None:
                raise
            if not await backend.links.holds(repository, digest):
                raise
            if not backend.lane:
                raise _read_only(backend) from None
            await asyncio.to_thread(self._store.forget, repository, str(digest))
            return [str(digest)]

    async def tags(self, repository: str, count: int, last: str) -> tuple[list[str], str]:
        """Up to ``count`` tags after ``last``, as ``TagStore.tags``; and why some may be missing.

        Raises:
            NotFound: there is no such repository. UpstreamFailed: only the store may know it, and
                can't tell. Pending: the store is still being asked.

        """
        backend = self._sources.backend(repository)
        if backend is None:
            return await asyncio.to_thread(self._store.tags, repository, count, last), ""
        listing, stale = await self._listings.of(repository, backend)
        url = backend.settings.url
        found = await asyncio.to_thread(self._merged, repository, url, listing)
        if not found and not await asyncio.to_thread(self._store.knows, repository):
            if stale:
                raise UpstreamFailed(stale)
            raise NotFound("no such repository", repository=repository)
        place = last.lower(), last
        behind = sorted((tag.lower(), tag) for tag in found if (tag.lower(), tag) > place)
        return [tag for _, tag in behind[:count]], stale

    def _merged(self, repository: str, url: str, listing: Listing | None) -> set[str]:
        ours = self._store.listed(repository)
        pending = self._store.tasks.of(repository)
        if listing is None or listing.tags is None:
            return set(ours)
        # Of what was told to the store since it was asked, the book knows better.
        book = pending | listing.told
        theirs = listing.tags - book
        return {*theirs} | {
            tag for tag, store in ours.items() if store != url or tag in book or tag in theirs
        }


def _read_only(backend: OpenedTags) -> Unsupported:
    return Unsupported(f"{backend.settings.label} is only read")
