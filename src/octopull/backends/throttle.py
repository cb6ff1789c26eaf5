"""Limits around any store of objects: bytes per second in and out, and requests at once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from octopull.backends.contract import Content, Feature, Objects, Span, Stat
from octopull.backends.counting import counted
from octopull.config.backends import BackendSettings
from octopull.observability import metrics
from octopull.runtime.bandwidth import Bucket, Rate, pay


class Throttle:
    """``objects`` within the limits of ``settings``; what goes through is counted."""

    def __init__(self, objects: Objects, settings: BackendSettings) -> None:
        self._objects = objects
        self._label = settings.label
        self._gate = asyncio.Semaphore(settings.requests_max)
        self._in = Bucket(Rate(settings.in_bytes_per_s))
        self._out = Bucket(Rate(settings.out_bytes_per_s))

    @property
    def features(self) -> frozenset[Feature]:
        """Those of the store."""
        return self._objects.features

    async def stat(self, key: str) -> Stat:
        """As the store's."""
        async with self._request("stat"):
            return await self._objects.stat(key)

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        """As the store's, no faster than the limit."""
        async with self._request("get"), aclosing(self._objects.get(key, span)) as chunks:
            async for chunk in chunks:
                metrics.BACKEND_RECEIVED_BYTES.labels(self._label).inc(len(chunk))
                await pay(self._in, len(chunk))
                yield chunk

    async def put(self, key: str, content: Content) -> None:
        """As the store's, no faster than the limit."""
        async with self._request("put"):
            await self._objects.put(key, _Paced(content, self._out, self._label))

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        """As the store's."""
        async with self._request("put_if"):
            return await self._objects.put_if(key, content, expected)

    async def delete(self, key: str) -> None:
        """As the store's."""
        async with self._request("delete"):
            await self._objects.delete(key)

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        """As the store's."""
        async with self._request("list"):
            return await self._objects.list(prefix, after, count)

    @asynccontextmanager
    async def _request(self, operation: str) -> AsyncIterator[None]:
        async with self._gate:
            with counted(self._label, operation):
                yield


@dataclass(frozen=True, slots=True)
class _Paced:
    """A content that is read no faster than its bucket lets it."""

    content: Content
    bucket: Bucket
    label: str

    @property
    def size(self) -> int:
        return self.content.size

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self.content.chunks()) as chunks:
            async for chunk in chunks:
                await pay(self.bucket, len(chunk))
                metrics.BACKEND_SENT_BYTES.labels(self.label).inc(len(chunk))
                yield chunk
