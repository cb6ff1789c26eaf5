"""What is asked of storage that others run: objects under keys, blobs by digest, tags by name.

``Objects`` is the port for stores that know keys and bytes: a folder, a bucket, HDFS, a web
server. What a layout (backends/layouts.py) makes of one is a ``BlobBackend`` or a
``TagBackend``, which registries and databases are by themselves.

All of them turn what goes wrong into the same faults:

    NotFound       the store says that it is not there
    Unavailable    the store is down, slow, full, or will not have us: nothing is known
    Unsupported    the store can't do that at all (``features`` says so beforehand)
    Corrupt        the store sends what can't be right, such as another length than it said
    InvalidName    the key is none (``check_key``)

Bytes come and go in chunks of at most ``CHUNK_BYTES_MAX``. Nothing is cut off silently, and no
call hangs: decorators (backends/deadlines.py) see to both for all stores.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidName
from octopull.kernel.names import TagName

CHUNK_BYTES_MAX = 1024 * 1024
PAGE_MAX = 1000
"""Keys in one answer to ``list``."""

KEY_BYTES_MAX = 1024
"""What S3 allows."""

CONDITIONAL_BYTES_MAX = 64 * 1024
"""What ``put_if`` takes: tags and records, not blobs."""

_KEY = re.compile(r"[A-Za-z0-9._\-][A-Za-z0-9._\-:@+=~]*(?:/[A-Za-z0-9._\-][A-Za-z0-9._\-:@+=~]*)*")


class Feature(Enum):
    """What not every store can do; all can ``stat`` and ``get``."""

    PUT = auto()
    PUT_IF = auto()
    DELETE = auto()
    LIST = auto()


ALL_FEATURES = frozenset(Feature)
READ_ONLY: frozenset[Feature] = frozenset()


@dataclass(frozen=True, slots=True)
class Stat:
    """An object's size in bytes, and its ``version``: another one after each change of it.

    ``version`` is empty where the store has none (it then lacks ``Feature.PUT_IF``).
    """

    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Span:
    """``length`` bytes from ``start`` on."""

    start: int
    length: int


class Content(Protocol):
    """Bytes to be stored, which can be read again: a put that failed is begun anew."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """All of them from the start, in chunks of at most ``CHUNK_BYTES_MAX``.

        Raises:
            Fault: they can't be read; the put must then leave nothing behind.

        """
        ...


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes in memory as a ``Content``."""

    content: bytes

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.content)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """All of them at once."""
        if self.content:
            yield self.content


class Objects(Protocol):
    """A store of bytes under keys, such as ``docker/registry/v2/blobs/...``."""

    @property
    def features(self) -> frozenset[Feature]:
        """What it can do beyond reading."""
        ...

    async def stat(self, key: str) -> Stat:
        """Raises NotFound: no such object."""
        ...

    def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        """The object's bytes in order, all or those of ``span``, which lies within it.

        Ends only after the last byte. The first step raises what ``stat`` would.

        Raises:
            NotFound: no such object. Unavailable: it broke off.

        """
        ...

    async def put(self, key: str, content: Content) -> None:
        """Store all of ``content`` in place of what was there; durable when this returns.

        Readers see the old bytes or all the new ones, never a part, also if it fails. Memory
        stays bounded, whatever the size.
        """
        ...

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        """Store ``content`` if the object's version is ``expected`` (None: there is none).

        Returns the new version.

        Raises:
            Changed: it is another one; nothing was stored.

        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no fault."""
        ...

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        """Up to ``count`` keys that begin with ``prefix``, behind ``after``, in order of bytes.

        Fewer than ``count`` (at most ``PAGE_MAX``) are returned only at the end.
        """
        ...


@dataclass(frozen=True, slots=True)
class BlobName:
    """A blob as its users name it. ``manifest``: it is known to be one, which some stores keep
    apart; otherwise it may still be one.
    """

    namespace: str
    digest: Digest
    manifest: bool = False


class BlobBackend(Protocol):
    """Blobs outside the cluster. ``namespace`` is what the blob was pushed or asked for under."""

    @property
    def name(self) -> str:
        """For logs, metrics and users; no secret in it."""
        ...

    @property
    def writable(self) -> bool:
        """Whether blobs, and metainfo beside them, can be put there."""
        ...

    async def stat(self, blob: BlobName) -> int | None:
        """Size in bytes; None if the store can't say before the blob's end.

        Raises:
            NotFound: it isn't there. UpstreamFailed: the store can't tell.

        """
        ...

    def get(self, blob: BlobName, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` on, not proven; connections that break are taken up again.

        Raises:
            as ``stat``, the first time a byte is asked for, or later.

        """
        ...

    async def put(self, blob: BlobName, content: Content) -> None:
        """Store a proven blob; repeating it is safe.

        Raises:
            Unsupported: not ``writable``, or the store won't have this blob.
            MissingReference: a registry wants what a manifest refers to first.
            UpstreamFailed: it failed; nothing, or all, is there.

        """
        ...

    async def delete(self, blob: BlobName) -> None:
        """Remove the blob and its metainfo; one that is not there is no fault.

        Raises:
            Unsupported: the store does not delete. UpstreamFailed: it failed.

        """
        ...

    async def metainfo(self, blob: BlobName) -> bytes:
        """The encoded metainfo that was put beside the blob, not proven.

        Raises:
            NotFound: there is none, or the store has no place for it.

        """
        ...

    async def put_metainfo(self, blob: BlobName, encoded: bytes) -> None:
        """Store metainfo beside the blob, before the blob; a store without a place ignores it."""
        ...


@dataclass(frozen=True, slots=True)
class TagEntry:
    """What a tag stands for, and the version of that (empty: the store has none)."""

    digest: Digest
    version: str


class TagBackend(Protocol):
    """Tags outside the cluster."""

    @property
    def name(self) -> str:
        """For logs, metrics and users; no secret in it."""
        ...

    @property
    def writable(self) -> bool:
        """Whether tags can be put there."""
        ...

    async def get(self, name: TagName) -> TagEntry:
        """Raises NotFound: no such tag. UpstreamFailed: the store can't tell."""
        ...

    async def put(self, name: TagName, digest: Digest) -> None:
        """Let the tag stand for ``digest``, whatever it stood for."""
        ...

    async def put_if(self, name: TagName, digest: Digest, expected: str | None) -> str:
        """As ``Objects.put_if``.

        Raises:
            Changed: the tag moved. Unsupported: the store can't compare.

        """
        ...

    async def delete(self, name: TagName) -> None:
        """Forget the tag; one that is not there is no fault."""
        ...

    async def list(self, repository: str, after: str, count: int) -> list[str]:
        """Up to ``count`` tags behind ``after``, in order of bytes; none if there is no repository."""
        ...


class RepositoryLinks(Protocol):
    """What some stores of tags note of a repository beside its tags, for others to serve it."""

    async def record(
        self, repository: str, manifests: Sequence[Digest], blobs: Sequence[Digest]
    ) -> None:
        """Note that ``repository`` holds these; repeating it is safe. Raises UpstreamFailed."""
        ...

    async def forget(self, repository: str, manifest: Digest) -> None:
        """Note that ``repository`` no longer holds the manifest. Raises UpstreamFailed."""
        ...

    async def holds(self, repository: str, manifest: Digest) -> bool:
        """Whether ``repository`` holds the manifest. Raises UpstreamFailed."""
        ...


def is_key(text: str) -> bool:
    """Whether ``check_key`` takes it."""
    try:
        check_key(text)
    except InvalidName:
        return False
    return True


def check_key(key: str) -> str:
    """``key`` itself.

    Raises:
        InvalidName: empty, too long, absolute, or with a part that begins with no letter, digit,
            dot, dash or underscore, or is ``.`` or ``..``.

    """
    parts = key.split("/")
    if len(key) > KEY_BYTES_MAX or _KEY.fullmatch(key) is None or {".", ".."} & set(parts):
        raise InvalidName("not a key of a store", key=key[:80])
    return key
