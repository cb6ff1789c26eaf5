"""Tags as docker-registry keeps them: small objects, *links*, that hold a digest as text.

A tag is the link ``_manifests/tags/<tag>/current/link``. What a repository holds is told by links
under ``_manifests/revisions`` and ``_layers``, without which docker-registry serves nothing
(distribution, registry/storage/paths.go).
"""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import aclosing

from octopull.backends import tag_keys
from octopull.backends.blame import blamed
from octopull.backends.contract import PAGE_MAX, Bytes, Feature, Objects, TagEntry
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidDigest, NotFound, Unsupported, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.runtime.tasks import each

LINK_BYTES_MAX = 256
LINKS_AT_ONCE = 8
SEEN_MAX = 10_000
"""Links whose content is remembered, so that one that did not change is not read again."""


class ObjectTags:
    """A ``TagBackend``, and its ``RepositoryLinks``, over ``objects``."""

    def __init__(self, objects: Objects, name: str, *, read_only: bool) -> None:
        self._objects = objects
        self._name = name
        self._read_only = read_only
        self._seen: OrderedDict[str, TagEntry] = OrderedDict()

    @property
    def name(self) -> str:
        return self._name

    @property
    def writable(self) -> bool:
        return not self._read_only and Feature.PUT in self._objects.features

    async def get(self, name: TagName) -> TagEntry:
        key = tag_keys.tag_link(name)
        with blamed(self.name):
            # In this order: a version may be older than what is read, and then nothing is put over
            # it, but never newer.
            version = (await self._objects.stat(key)).version
            seen = self._seen.get(key)
            if seen is not None and version and seen.version == version:
                return seen
            entry = TagEntry(await self._read(key), version)
        self._seen[key] = entry
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return entry

    async def _read(self, key: str) -> Digest:
        content = b""
        async with aclosing(self._objects.get(key)) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > LINK_BYTES_MAX:
                    raise UpstreamFailed(f"{self.name}: a link is too long")
        try:
            return Digest.parse(content.decode("ascii").strip())
        except (UnicodeDecodeError, InvalidDigest) as error:
            raise UpstreamFailed(f"{self.name}: a link holds no digest") from error

    async def put(self, name: TagName, digest: Digest) -> None:
        await self._put(tag_keys.tag_index_link(name, digest), digest)
        await self._put(tag_keys.tag_link(name), digest)

    async def put_if(self, name: TagName, digest: Digest, expected: str | None) -> str:
        if Feature.PUT_IF not in self._objects.features:
            raise Unsupported(f"{self.name} can't compare")
        await self._put(tag_keys.tag_index_link(name, digest), digest)
        with blamed(self.name):
            return await self._objects.put_if(
                tag_keys.tag_link(name), str(digest).encode(), expected
            )

    async def delete(self, name: TagName) -> None:
        """The tag goes first, then what it stood for before, as far as the store lists it."""
        await self._delete(tag_keys.tag_link(name))
        if Feature.LIST not in self._objects.features:
            return
        folder, page = tag_keys.tag_folder(name), [""]
        with blamed(self.name):
            while page:
                page = await self._objects.list(folder, page[-1], PAGE_MAX)
                await each(page, self._delete, LINKS_AT_ONCE)

    async def list(self, repository: str, after: str, count: int) -> list[str]:
        if Feature.LIST not in self._objects.features:
            raise Unsupported(f"{self.name} can't list")
        with blamed(self.name):
            return sorted(await self._listed(repository, after, count))[:count]

    async def _listed(self, repository: str, after: str, count: int) -> set[str]:
        """The first ``count`` tags behind ``after``, and perhaps more that follow them.

        Keys come in another order than tags: ``a-b/`` before ``a/``, but ``a`` before ``a-b``. So
        when enough is found, tags may be missing whose keys come later though they come
        before others: beginnings of the last one, and no others.
        """
        folder = tag_keys.tags_folder(repository)
        found: set[str] = set()
        last = f"{folder}{after}"
        while True:
            keys = await self._objects.list(folder, last, PAGE_MAX)
            tags = (tag_keys.listed_tag(repository, key) for key in keys)
            found |= {tag for tag in tags if tag is not None and tag > after}
            if len(keys) < PAGE_MAX:
                break
            last = _behind(folder, keys[-1])
            if len(found) >= count:
                found |= await self._beginnings(repository, last[len(folder) :], after)
                break
        return found

    async def _beginnings(self, repository: str, last: str, after: str) -> set[str]:
        tag = last.partition("/")[0]
        candidates = [tag[:at] for at in range(1, len(tag)) if tag[at] in "-."]
        found: set[str] = set()
        for candidate in candidates:
            if candidate <= after:
                continue
            try:
                await self._objects.stat(tag_keys.tag_link(TagName(repository, candidate)))
            except NotFound:
                continue
            found.add(candidate)
        return found

    # What a repository holds.

    async def record(
        self, repository: str, manifests: Sequence[Digest], blobs: Sequence[Digest]
    ) -> None:
        links = [(tag_keys.layer_link(repository, digest), digest) for digest in blobs]
        links += [(tag_keys.revision_link(repository, digest), digest) for digest in manifests]

        async def put(link: tuple[str, Digest]) -> None:
            await self._put(*link)

        await each(links, put, LINKS_AT_ONCE)

    async def forget(self, repository: str, manifest: Digest) -> None:
        await self._delete(tag_keys.revision_link(repository, manifest))

    async def holds(self, repository: str, manifest: Digest) -> bool:
        try:
            with blamed(self.name):
                await self._objects.stat(tag_keys.revision_link(repository, manifest))
        except NotFound:
            return False
        return True

    async def _put(self, key: str, digest: Digest) -> None:
        with blamed(self.name):
            await self._objects.put(key, Bytes(str(digest).encode()))

    async def _delete(self, key: str) -> None:
        with blamed(self.name):
            await self._objects.delete(key)


def _behind(folder: str, key: str) -> str:
    """Behind ``key``; if that is of a tag's past, behind all of it, which may be long."""
    tag = key[len(folder) :].partition("/")[0]
    seen = key >= f"{folder}{tag}/current/link"
    return f"{folder}{tag}/~" if seen else key
