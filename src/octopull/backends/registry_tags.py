"""The tags of another registry (distribution-spec 1.1, "Listing Tags" and "Pushing Manifests").

A registry takes a tag with its manifest's bytes alone: they are read from it and put again.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from yarl import URL

from octopull.backends import registry_changes
from octopull.backends.answers import whole
from octopull.backends.contract import TagBackend, TagEntry
from octopull.backends.registry import RemoteRegistry, opened
from octopull.backends.registry_place import place_of_backend
from octopull.backends.requests import Ask
from octopull.config.backends import TagBackendSettings
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    InvalidName,
    MissingReference,
    NotFound,
    Unsupported,
    UpstreamFailed,
)  # fmt: skip
from octopull.kernel.names import TagName
from octopull.oci.manifests import media_type_of

PAGE = 1000
PAGE_BYTES_MAX = 4 * 1024 * 1024
TAGS_MAX = 200_000
"""Tags of one repository; beyond that they are not listed at all, rather than in part."""

_NEXT = re.compile(r'<([^<>]{1,4096})>\s*;\s*rel="?next"?', re.ASCII)


class _Listed(msgspec.Struct, frozen=True):
    tags: list[str] | None = None


class RegistryTags:
    """The tags of one registry, whose repositories ours are, behind its prefix."""

    def __init__(self, registry: RemoteRegistry, *, writable: bool) -> None:
        self._registry = registry
        self._writable = writable

    @property
    def name(self) -> str:
        """The registry's."""
        return self._registry.place.name

    @property
    def writable(self) -> bool:
        """Whether tags are put there."""
        return self._writable

    async def get(self, name: TagName) -> TagEntry:
        """What the tag stands for; a registry tells no version of that."""
        digest = await self._registry.tag(self._known(name.repository), name.tag)
        return TagEntry(digest, "")

    async def put(self, name: TagName, digest: Digest) -> None:
        """Let the tag stand for a manifest that is there.

        Raises:
            MissingReference: it is not there; it may be on its way. UpstreamFailed: it failed.
            Unsupported: only read.

        """
        self._check_writable(name)
        repository = self._registry.place.repository(name.repository)
        try:
            manifest = await self._registry.manifest(repository, digest)
        except NotFound as fault:
            raise MissingReference(f"{self.name} does not have the tag's manifest yet",
                                   tag=str(name), digest=str(digest)) from fault  # fmt: skip
        await registry_changes.put_manifest(
            self._registry, repository, name.tag, manifest.content, media_type_of(manifest.content)
        )

    async def put_if(self, name: TagName, digest: Digest, expected: str | None) -> str:
        """Refuse: registries put tags unconditionally."""
        del digest, expected
        raise Unsupported("a registry can't compare before it puts a tag", tag=str(name))

    async def delete(self, name: TagName) -> None:
        """Forget the tag alone.

        Raises:
            Unsupported: only read, or the registry deletes manifests by digest alone.

        """
        self._check_writable(name)
        repository = self._registry.place.repository(name.repository)
        await registry_changes.delete(self._registry, repository, f"manifests/{name.tag}")

    async def _page(self, repository: str, url: URL) -> tuple[list[str], URL | None]:
        """Tags of one answer, and where the next ones are."""
        registry = self._registry
        ask = Ask(method="GET", repository=repository, url=url)
        async with (
            registry.deadline(),
            registry.manifest_turns,
            registry.requests.settled(ask) as response,
        ):
            body = await self._body(response)
            match = _NEXT.search(response.headers.get("Link", ""))
            following = registry.requests.beside(response, match[1]) if match else None
        try:
            listed = msgspec.json.decode(body, type=_Listed).tags or []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamFailed(f"{self.name} lists no tags", repository=repository) from error
        return [tag for tag in listed if _is_tag(tag)], following

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await whole(response, PAGE_BYTES_MAX)
        except Corrupt as fault:
            raise UpstreamFailed(f"{self.name} lists too many tags at once") from fault

    def _known(self, repository: str) -> str:
        try:
            return self._registry.place.repository(repository)
        except InvalidName as fault:
            raise NotFound("no registry has a repository of that name",
                           repository=repository) from fault  # fmt: skip

    def _check_writable(self, name: TagName) -> None:
        if not self._writable:
            raise Unsupported("this registry is only read", tag=str(name))

    async def list(self, repository: str, after: str, count: int) -> list[str]:
        """Registries order tags as they like (the specification: without regard to case), so all
        of them are read.
        """
        found: set[str] = set()
        try:
            there = self._known(repository)
            url: URL | None = self._registry.requests.url(there, f"tags/list?n={PAGE}")
            while url is not None:
                known = len(found)
                page, following = await self._page(there, url)
                found.update(page)
                # A registry whose pages bring nothing new sends us round in circles.
                url = following if len(found) > known else None
                if len(found) > TAGS_MAX:
                    raise UpstreamFailed(f"{self.name} has too many tags", repository=repository)
        except NotFound:
            return []
        return sorted(tag for tag in found if tag > after)[:count]


def _is_tag(text: str) -> bool:
    try:
        return bool(names.tag(text))
    except InvalidName:
        return False


@asynccontextmanager
async def opened_registry_tags(settings: TagBackendSettings) -> AsyncIterator[TagBackend]:
    """The tags of ``registry+https://host/prefix``; it need not be there yet.

    Raises:
        Misuse: the url or the options are of no use.

    """
    async with opened(place_of_backend(settings)) as registry:
        yield RegistryTags(registry, writable=not settings.read_only)
