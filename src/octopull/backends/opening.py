"""From settings to opened backends; the first whose pattern a namespace matches counts.

Around each store of objects are, from the inside, deadlines, repeats and hedged reads
(backends/deadlines.py), then limits and counts (backends/throttle.py); a backend of blobs may have
a shadow (backends/shadow.py).
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from octopull.backends.contract import BlobBackend, Objects
from octopull.backends.deadlines import Deadlines
from octopull.backends.layouts import blob_key
from octopull.backends.object_blobs import ObjectBlobs
from octopull.backends.shadow import Shadow
from octopull.backends.throttle import Throttle
from octopull.config.backends import BackendSettings, TagBackendSettings
from octopull.kernel.errors import Misuse
from octopull.runtime.tasks import Tasks


@dataclass(frozen=True, slots=True)
class _Opened:
    settings: BackendSettings
    backend: BlobBackend


class Backends:
    """The backends of one origin."""

    def __init__(self, opened: Sequence[_Opened]) -> None:
        self._opened = list(opened)

    @property
    def all(self) -> list[BlobBackend]:
        """In the order of the settings."""
        return [one.backend for one in self._opened]

    def of(self, namespace: str) -> BlobBackend | None:
        """The backend of a namespace; None if there is none."""
        for one in self._opened:
            if re.fullmatch(one.settings.match, namespace):
                return one.backend
        return None


@asynccontextmanager
async def opened(settings: Sequence[BackendSettings]) -> AsyncIterator[Backends]:
    """The backends of ``settings``, until the block ends. They need not be up.

    Raises:
        Misuse: what one needs is not installed, or its settings make no sense.

    """
    async with AsyncExitStack() as stack:
        yield Backends([_Opened(one, await _shadowed(one, stack)) for one in settings])


async def _shadowed(settings: BackendSettings, stack: AsyncExitStack) -> BlobBackend:
    first = await _backend(settings, stack)
    if settings.shadow is None:
        return first
    second = await _backend(settings.shadow, stack)
    if first.writable and not second.writable:
        raise Misuse("what is only read can't be the shadow of what is written",
                     backend=settings.shadow.label)  # fmt: skip
    return Shadow(first, second, await stack.enter_async_context(Tasks()))


async def _backend(settings: BackendSettings, stack: AsyncExitStack) -> BlobBackend:
    """Each kind is imported when it is used: what it needs may not be installed."""
    scheme = urlsplit(settings.url).scheme
    if scheme.startswith("registry+"):
        from octopull.backends.registry_blobs import opened_registry

        return await stack.enter_async_context(opened_registry(settings))
    if scheme in {"http", "https"}:
        from octopull.backends import web
        from octopull.backends.web_blobs import WebBlobs, key_by_digest

        server = await stack.enter_async_context(web.connected(settings))
        objects = _decorated(server, settings)
        if web.by_digest(settings.url):
            return WebBlobs(server, objects, key_by_digest)
        layout = settings.layout
        inner = ObjectBlobs(objects, settings)
        return WebBlobs(server, objects, lambda blob: blob_key(layout, blob.digest), inner)
    objects = await stack.enter_async_context(open_objects(settings))
    return ObjectBlobs(objects, settings)


@asynccontextmanager
async def open_objects(settings: BackendSettings | TagBackendSettings) -> AsyncIterator[Objects]:
    """The store of ``settings``, until the block ends, with all that is around it.

    Raises:
        as ``opened``.

    """
    if isinstance(settings, TagBackendSettings):
        settings = _as_of_blobs(settings)
    async with AsyncExitStack() as stack:
        yield _decorated(await _objects(settings, stack), settings)


def _as_of_blobs(tags: TagBackendSettings) -> BackendSettings:
    return BackendSettings(
        url=tags.url, match=tags.match, name=tags.label, read_only=tags.read_only,
        credentials=tags.credentials, options=tags.options, timeout_s=tags.timeout_s,
        attempts_max=tags.attempts_max, requests_max=tags.requests_max,
    )  # fmt: skip


def _decorated(objects: Objects, settings: BackendSettings) -> Objects:
    # Limits outside: who waits for a turn is not silent.
    return Throttle(Deadlines(objects, settings), settings)


async def _objects(settings: BackendSettings, stack: AsyncExitStack) -> Objects:
    parts = urlsplit(settings.url)
    if parts.scheme == "file":
        from octopull.backends.files import Files

        return Files(_folder(settings))
    if parts.scheme == "hdfs":
        from octopull.backends import hdfs

        return await stack.enter_async_context(hdfs.connected(settings))
    from octopull.backends import object_stores

    return object_stores.open(settings)


def _folder(settings: BackendSettings) -> Path:
    """Raises Misuse: it is not there. It is not made: the disk may just not be mounted yet."""
    parts = urlsplit(settings.url)
    path = Path(unquote(parts.path))
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        raise Misuse("a folder's url is file:///folder", url=settings.label)
    if not path.is_dir():
        raise Misuse(f"there is no folder {path}", backend=settings.label)
    return path
