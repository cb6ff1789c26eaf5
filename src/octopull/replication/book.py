"""What replication asks of the tag index whose tags it copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from octopull.kernel.digest import Digest
from octopull.kernel.names import TagName
from octopull.replication.moves import Move


@dataclass(frozen=True, slots=True)
class ManifestStanding:
    """Of a manifest in a repository: whether it is recorded, and a referrer.

    ``deleted_at`` is when it was deleted (seconds since the epoch), None if it was not.
    """

    recorded: bool
    referrer: bool
    deleted_at: float | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository: what its tags stand for, tags that were deleted, and its referrers."""

    name: str
    tags: dict[str, Digest]
    deleted: list[str]
    referrers: list[Digest]


class Book(Protocol):
    """The tag index's book of repositories.

    Raises:
        Unavailable: it fails; so may every call.

    """

    async def move(self, name: TagName) -> Move:
        """What the tag stands for, and since when."""
        ...

    async def confirm(self) -> None:
        """Returns if the book is up to date, and nobody else tells remotes what it says.

        Raises:
            Unavailable: that is not certain.

        """
        ...

    async def standing(self, repository: str, digest: Digest) -> ManifestStanding:
        """Of a manifest."""
        ...

    async def referrers(self, repository: str, subject: Digest) -> Sequence[Digest]:
        """Manifests about another one."""
        ...

    async def elsewhere(self, repository: str, digest: Digest) -> Sequence[str]:
        """Some other repositories with a manifest that refers to ``digest``."""
        ...

    async def left(self, remote: str, repository: str, digest: Digest) -> str:
        """Where an upload to ``remote`` was left; empty if nowhere."""
        ...

    async def leave(self, remote: str, repository: str, digest: Digest, session: str) -> None:
        """An upload was left there; empty: it is over."""
        ...

    async def repositories(self, last: str) -> Sequence[str]:
        """A page of repositories after ``last``, in order; empty at the end."""
        ...

    async def listed(self, repository: str) -> Listed:
        """All that a remote may have of one."""
        ...

    async def tell(
        self, remote: str, repository: str, references: Sequence[str], *, overwrite: bool
    ) -> None:
        """Have ``remote`` told of tags and manifests; ``overwrite``: as if the tags moved now."""
        ...
