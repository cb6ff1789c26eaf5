"""Blobs, and metainfo beside them, in a store of objects."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from octopull.backends.blame import blamed
from octopull.backends.contract import BlobName, Bytes, Content, Feature, Objects, Span
from octopull.backends.layouts import blob_key, metainfo_key
from octopull.backends.reading import read_ahead
from octopull.blob.metainfo import METAINFO_BYTES_MAX
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import Corrupt, InvalidRange, TooLarge, Unsupported


class ObjectBlobs:
    """The ``BlobBackend`` that ``settings`` make of ``objects``."""

    def __init__(self, objects: Objects, settings: BackendSettings) -> None:
        self._objects = objects
        self._settings = settings

    @property
    def name(self) -> str:
        """The settings' label."""
        return self._settings.label

    @property
    def writable(self) -> bool:
        """Unless the settings or the store say otherwise."""
        return Feature.PUT in self._objects.features and not self._settings.read_only

    async def stat(self, blob: BlobName) -> int:
        """Size in bytes.

        Raises:
            NotFound, UpstreamFailed: as the contract says. TooLarge: beyond the settings' limit.

        """
        with self._blamed():
            size = (await self._objects.stat(self._key(blob))).size
        self._check_size(size)
        return size

    async def get(self, blob: BlobName, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` on.

        Raises:
            as ``stat``. Corrupt: it became shorter meanwhile.

        """
        size = await self.stat(blob)
        if start >= size:
            return
        with self._blamed():
            span, streams = Span(start, size - start), self._settings.read_streams
            body = read_ahead(self._objects, self._key(blob), span, streams)
            async with aclosing(body) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def put(self, blob: BlobName, content: Content) -> None:
        """Store the blob."""
        self._check_writable()
        self._check_size(content.size)
        with self._blamed():
            await self._objects.put(self._key(blob), content)

    async def delete(self, blob: BlobName) -> None:
        """Remove the blob, then its metainfo."""
        self._check_writable()
        with self._blamed():
            for key in (self._key(blob), metainfo_key(self._settings.layout, blob.digest)):
                await self._objects.delete(key)

    async def metainfo(self, blob: BlobName) -> bytes:
        """The encoded metainfo beside the blob."""
        found = bytearray()
        with self._blamed():
            body = self._objects.get(metainfo_key(self._settings.layout, blob.digest))
            async with aclosing(body) as chunks:
                async for chunk in chunks:
                    found += chunk
                    if len(found) > METAINFO_BYTES_MAX:
                        raise Corrupt("metainfo of impossible length", digest=str(blob.digest))
        return bytes(found)

    async def put_metainfo(self, blob: BlobName, encoded: bytes) -> None:
        """Store metainfo beside the blob."""
        self._check_writable()
        with self._blamed():
            key = metainfo_key(self._settings.layout, blob.digest)
            await self._objects.put(key, Bytes(encoded))

    def _key(self, blob: BlobName) -> str:
        return blob_key(self._settings.layout, blob.digest)

    def _check_writable(self) -> None:
        if not self.writable:
            raise Unsupported(f"{self.name} is only read")

    def _check_size(self, size: int) -> None:
        if size > self._settings.blob_bytes_max:
            raise TooLarge(f"{self.name} takes and gives no such large blobs",
                           bytes_max=self._settings.blob_bytes_max)  # fmt: skip

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            with blamed(self.name):
                yield
        except InvalidRange as fault:
            raise Corrupt(f"{self.name} has changed a blob while it was read") from fault
