"""S3 and what speaks like it, Google Cloud Storage, and Azure's blobs, by the library obstore.

Versions are ETags, which for S3 follow from the content: an object that is changed and changed
back has its old version. GCS has generations.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from octopull.backends.contract import (
    ALL_FEATURES,
    CHUNK_BYTES_MAX,
    CONDITIONAL_BYTES_MAX,
    PAGE_MAX,
    Content,
    Feature,
    Span,
    Stat,
    check_key,
    is_key,
)
from octopull.backends.store_clients import CONDITIONAL_PUT, Clients, check_options
from octopull.backends.store_faults import fault_of
from octopull.backends.store_parts import PART_BYTES, checked, parts_of, put_parts
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import (
    Changed,
    Corrupt,
    Fault,
    InvalidRange,
    Misuse,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, PutResult

STREAM_BYTES = CHUNK_BYTES_MAX // 2
"""The least of one chunk that is read; the network's own are far smaller, and each costs a turn."""

BUCKET_S = 300.0
"""How long a bucket that was there is taken to be there."""

_ALPHABET = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"


def open(settings: BackendSettings) -> "ObjectStore":  # noqa: A001 - read as object_stores.open
    """The store of ``settings``; it may be down, or refuse us: that shows when it is used.

    Raises:
        Misuse: obstore is not installed, or an option is unknown or makes no sense.

    """
    scheme = urlsplit(settings.url).scheme
    if find_spec("obstore") is None:
        raise Misuse(f"{scheme}:// needs: pip install 'octopull[object-stores]'")
    check_options(settings.options, scheme)
    return ObjectStore(settings)


class ObjectStore:
    """``Objects`` in one bucket or container, below a root."""

    def __init__(self, settings: BackendSettings) -> None:
        conditional = settings.options.get(CONDITIONAL_PUT, "true") == "true"
        self.features: frozenset[Feature] = ALL_FEATURES - (
            frozenset() if conditional else {Feature.PUT_IF}
        )
        self._label = settings.label
        self._version = "version" if urlsplit(settings.url).scheme == "gs" else "e_tag"
        self._clients = Clients(settings)
        self._bucket_s = -BUCKET_S

    async def stat(self, key: str) -> Stat:
        check_key(key)
        client = (await self._clients.current()).client
        try:
            async with self._faults():
                found = await client.head_async(key)
        except NotFound:
            await self._find_bucket()
            raise
        return Stat(found["size"], self._version_of(found))

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        check_key(key)
        if span is not None and span.length == 0:  # Which HTTP's ranges can't say.
            _check_span(span, (await self.stat(key)).size)
            return
        client = (await self._clients.current()).client
        async with self._faults():
            if span is None:
                result = await client.get_async(key)
            else:
                ends = (span.start, span.start + span.length)
                result = await client.get_async(key, options={"range": ends})
        size = result.meta["size"]
        span = span or Span(0, size)
        _check_span(span, size)
        left = span.length
        stream = result.stream(STREAM_BYTES)
        while left:
            async with self._faults():
                chunk = await anext(stream, b"")
            if not chunk or len(chunk) > left:
                raise Corrupt(f"{self._label} sends another length than it says", size=size)
            left -= len(chunk)
            for at in range(0, len(chunk), CHUNK_BYTES_MAX):
                yield bytes(chunk[at : at + CHUNK_BYTES_MAX])

    async def put(self, key: str, content: Content) -> None:
        check_key(key)
        client = (await self._clients.current()).client
        async with self._faults():
            if content.size <= PART_BYTES:
                async with aclosing(checked(content)) as chunks:
                    whole = b"".join([chunk async for chunk in chunks])
                await client.put_async(key, whole, use_multipart=False)
                return
            part, at_once = parts_of(content.size)
            await put_parts(
                content,
                lambda reading: client.put_async(
                    key, reading, use_multipart=True, chunk_size=part, max_concurrency=at_once
                ),
            )

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        check_key(key)
        if Feature.PUT_IF not in self.features:
            raise Unsupported(f"{self._label} has no conditional put")
        if len(content) > CONDITIONAL_BYTES_MAX:
            raise TooLarge("too much for a conditional put", bytes_max=CONDITIONAL_BYTES_MAX)
        client = (await self._clients.current()).once
        mode: PutMode = "create" if expected is None else self._update(expected)
        async with self._faults():
            stored = await client.put_async(key, content, mode=mode, use_multipart=False)
        return self._version_of(stored)

    async def delete(self, key: str) -> None:
        check_key(key)
        client = (await self._clients.current()).client
        try:
            async with self._faults():
                await client.delete_async(key)
        except NotFound:
            await self._find_bucket()

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        folder = prefix[: prefix.rfind("/") + 1].removesuffix("/")
        if not is_key(folder or "root"):
            return []  # No key begins so.
        count = min(count, PAGE_MAX)
        begin = max(after, _before(prefix)).rstrip("/")
        client = (await self._clients.current()).client
        pages = client.list(
            folder or None, offset=begin if is_key(begin) else None, chunk_size=max(count, 1)
        )
        found: list[str] = []
        while len(found) < count:
            async with self._faults():
                page = await anext(pages, None)
            if page is None:
                break
            keys = [one["path"] for one in page]
            found += [one for one in keys if one > after and one.startswith(prefix) and is_key(one)]
            if keys and keys[-1] > prefix and not keys[-1].startswith(prefix):
                break
        return found[:count]

    async def _find_bucket(self) -> None:
        """Some answers are the same for an object and for a bucket that is not there.

        Raises:
            Unavailable: it is the bucket.

        """
        if time.monotonic() - self._bucket_s < BUCKET_S:
            return
        client = (await self._clients.current()).client
        try:
            async with self._faults():
                await anext(client.list(chunk_size=1), None)
        except NotFound:
            raise Unavailable(f"{self._label}: there is no such bucket") from None
        except Unavailable as fault:
            if "credentials" not in str(fault):  # Who may read need not be allowed to list.
                raise
        self._bucket_s = time.monotonic()

    @contextlib.asynccontextmanager
    async def _faults(self) -> AsyncIterator[None]:
        from obstore import exceptions

        try:
            yield
        except Fault:
            raise
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise Changed("the object is another version") from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise fault_of(error, self._label) from None

    def _update(self, expected: str) -> "PutMode":
        if self._version == "e_tag":
            return {"e_tag": expected}
        if not expected.isdecimal():
            raise Changed("no generation is called so")
        return {"version": expected}

    def _version_of(self, told: "ObjectMeta | PutResult") -> str:
        version: str | None = told["version"] if self._version == "version" else told["e_tag"]
        return "" if version in {None, '""'} else str(version)


def _check_span(span: Span, size: int) -> None:
    if span.start < 0 or span.length < 0 or span.start + span.length > size:
        raise InvalidRange("the object has no such bytes", size=size)


def _before(prefix: str) -> str:
    """A key that is before all that begin with ``prefix``, and not far before."""
    lower = [one for one in _ALPHABET if prefix and one < prefix[-1]]
    return f"{prefix[:-1]}{lower[-1]}~~~~" if lower else prefix[:-1]
