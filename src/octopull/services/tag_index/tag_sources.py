"""Where tags come from beyond this cluster: upstream registries, and stores that it writes, too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from octopull.backends.registry import Upstream
from octopull.backends.tag_opening import OpenedTags, TagBackends
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.oci.upstreams import split


class TagSource(Protocol):
    """What says what tags stand for.

    ``store`` is the url of a store that tags may be pushed to here, too; an upstream has none: all
    of its tags are its own. ``tag_ttl_s``: how long an answer counts.
    """

    @property
    def store(self) -> str: ...

    @property
    def tag_ttl_s(self) -> float: ...

    async def digest(self, name: TagName) -> Digest:
        """Raises NotFound: no such tag. UpstreamFailed: it can't tell."""
        ...

    async def holds(self, repository: str, manifest: Digest) -> bool:
        """Whether a repository may hold the manifest; True if nobody knows.

        Raises:
            UpstreamFailed: it can't tell.

        """
        ...

    async def vouches(self, repository: str, digest: Digest, *, is_manifest: bool) -> bool:
        """Whether a repository surely has the manifest or blob; False if nobody knows.

        Raises:
            UpstreamFailed: it can't tell.

        """
        ...


@dataclass(frozen=True, slots=True)
class UpstreamSource:
    """A registry that images are pulled through from; ``repository`` is its own name of one."""

    upstream: Upstream
    repository: str
    store: str = ""

    @property
    def tag_ttl_s(self) -> float:
        return self.upstream.settings.tag_ttl_s

    async def digest(self, name: TagName) -> Digest:
        return await self.upstream.tag(self.repository, name.tag)

    async def holds(self, repository: str, manifest: Digest) -> bool:
        del repository, manifest
        return True

    async def vouches(self, repository: str, digest: Digest, *, is_manifest: bool) -> bool:
        del repository
        upstream = self.upstream
        ask = upstream.manifest_size if is_manifest else upstream.blob_size
        try:
            await ask(self.repository, digest)
        except NotFound:
            return False
        return True


@dataclass(frozen=True, slots=True)
class BackendSource:
    """A store of tags."""

    opened: OpenedTags

    @property
    def store(self) -> str:
        return self.opened.settings.url

    @property
    def tag_ttl_s(self) -> float:
        return self.opened.settings.tag_ttl_s

    async def digest(self, name: TagName) -> Digest:
        return (await self.opened.tags.get(name)).digest

    async def holds(self, repository: str, manifest: Digest) -> bool:
        links = self.opened.links
        return links is None or await links.holds(repository, manifest)

    async def vouches(self, repository: str, digest: Digest, *, is_manifest: bool) -> bool:
        links = self.opened.links
        return is_manifest and links is not None and await links.holds(repository, digest)


@dataclass(frozen=True, slots=True)
class TagSources:
    """Upstreams by the first part of the repository, then stores by their patterns."""

    upstreams: Mapping[str, Upstream]
    backends: TagBackends

    def of(self, repository: str) -> TagSource | None:
        """Where a repository's tags are; None if only here."""
        found = split(repository, self.upstreams)
        if found is not None:
            return UpstreamSource(self.upstreams[found[0]], found[1])
        backend = self.backends.of(repository)
        return None if backend is None else BackendSource(backend)

    def upstream(self, repository: str) -> bool:
        """Whether the repository is an upstream's."""
        return split(repository, self.upstreams) is not None

    def backend(self, repository: str) -> OpenedTags | None:
        """The store that a repository's tags are in, too."""
        return None if self.upstream(repository) else self.backends.of(repository)

    def lane_of(self, repository: str) -> str:
        """The name of the store that a repository's tags are written to; empty if there is none."""
        backend = self.backend(repository)
        return "" if backend is None else backend.lane
