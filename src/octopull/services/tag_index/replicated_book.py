"""The tag index's store as replication asks it; see ``replication/book.py``."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from octopull.kernel.digest import Digest
from octopull.kernel.names import TagName
from octopull.replication.book import Listed, ManifestStanding
from octopull.replication.moves import Move
from octopull.services.tag_index.store import TagStore

PAGE = 1000


class ReplicatedBook:
    """A ``Book`` over ``store``, of which ``confirm`` says whether it is up to date here."""

    def __init__(
        self, store: TagStore, confirm: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._store = store
        self._confirm = confirm

    async def move(self, name: TagName) -> Move:
        return await asyncio.to_thread(self._store.moves.of, name)

    async def confirm(self) -> None:
        if self._confirm is not None:
            await self._confirm()

    async def standing(self, repository: str, digest: Digest) -> ManifestStanding:
        return await asyncio.to_thread(self._store.replicated.standing, repository, digest)

    async def referrers(self, repository: str, subject: Digest) -> Sequence[Digest]:
        return await asyncio.to_thread(self._store.replicated.referrers, repository, subject)

    async def elsewhere(self, repository: str, digest: Digest) -> Sequence[str]:
        return await asyncio.to_thread(self._store.replicated.elsewhere, repository, digest)

    async def left(self, remote: str, repository: str, digest: Digest) -> str:
        return await self._store.left_uploads.left(remote, repository, digest)

    async def leave(self, remote: str, repository: str, digest: Digest, session: str) -> None:
        uploads = self._store.left_uploads
        if session:
            await uploads.leave(remote, repository, digest, session)
        else:
            await uploads.forget(remote, repository, digest)

    async def repositories(self, last: str) -> Sequence[str]:
        return await asyncio.to_thread(self._store.replicated.repositories, PAGE, last)

    async def listed(self, repository: str) -> Listed:
        return await asyncio.to_thread(self._store.replicated.listed, repository)

    async def tell(
        self, remote: str, repository: str, references: Sequence[str], *, overwrite: bool
    ) -> None:
        await asyncio.to_thread(
            self._store.tell, remote, repository, references, overwrite=overwrite
        )
