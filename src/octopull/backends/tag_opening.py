"""From settings to opened stores of tags; the first whose pattern a repository matches counts."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from octopull.backends.contract import RepositoryLinks, TagBackend
from octopull.config.backends import TagBackendSettings


@dataclass(frozen=True, slots=True)
class OpenedTags:
    """One store of tags; ``links`` where it notes what repositories hold, too."""

    settings: TagBackendSettings
    tags: TagBackend
    links: RepositoryLinks | None

    @property
    def lane(self) -> str:
        """Its name, if tags are written there; else nothing."""
        return self.settings.label if self.tags.writable else ""


class TagBackends:
    """The stores of one tag index."""

    def __init__(self, opened: Sequence[OpenedTags]) -> None:
        self.all = list(opened)

    def of(self, repository: str) -> OpenedTags | None:
        """The store that a repository's tags are in; None if it is in none."""
        for one in self.all:
            if re.fullmatch(one.settings.match, repository):
                return one
        return None


@asynccontextmanager
async def opened_tags(settings: Sequence[TagBackendSettings]) -> AsyncIterator[TagBackends]:
    """The stores of ``settings``, until the block ends. They need not be up.

    Raises:
        Misuse: what one needs is not installed, or its settings make no sense.

    """
    async with AsyncExitStack() as stack:
        yield TagBackends([await _opened(one, stack) for one in settings])


async def _opened(settings: TagBackendSettings, stack: AsyncExitStack) -> OpenedTags:
    """Each kind is imported when it is used: what it needs may not be installed."""
    scheme = urlsplit(settings.url).scheme
    if scheme == "sqlite":
        from octopull.backends.sql_tags import opened_sqlite

        return OpenedTags(settings, await stack.enter_async_context(opened_sqlite(settings)), None)
    if scheme == "postgresql":
        from octopull.backends.postgresql_tags import opened_postgresql

        tags = await stack.enter_async_context(opened_postgresql(settings))
        return OpenedTags(settings, tags, None)
    if scheme.startswith("registry+"):
        from octopull.backends.registry_tags import opened_registry_tags

        registry = await stack.enter_async_context(opened_registry_tags(settings))
        return OpenedTags(settings, registry, None)
    from octopull.backends.object_tags import ObjectTags
    from octopull.backends.opening import open_objects

    objects = await stack.enter_async_context(open_objects(settings))
    links = ObjectTags(objects, settings.label, read_only=settings.read_only)
    return OpenedTags(settings, links, links)
