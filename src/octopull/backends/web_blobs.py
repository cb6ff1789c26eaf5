"""Blobs of a web server, also of one that knows no ranges, or tells no sizes.

What can be read in ranges is left to ``inner``, which reads several at once. All else comes in
one stream; if that breaks it is begun anew, and what has come already is passed over.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from octopull.backends.blame import blamed
from octopull.backends.contract import BlobBackend, BlobName, Content, Objects, Span
from octopull.backends.web import Web, web_key
from octopull.kernel.errors import (
    Corrupt,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)  # fmt: skip
from octopull.observability import logs

log = logs.get("web")
RESUMES_MAX = 50
"""Connections that one blob may take, each of which has brought some of it."""


def key_by_digest(blob: BlobName) -> str:
    """A blob's key where the url is filled in by digest."""
    return web_key(blob.namespace, blob.digest)


class WebBlobs:
    """A ``BlobBackend`` of the files of ``web``, which are read through ``objects``.

    ``objects`` is ``web``, decorated; ``key`` names a blob's file; ``inner`` is a backend of the
    same files, where there is one.
    """

    def __init__(
        self, web: Web, objects: Objects, key: Callable[[BlobName], str],
        inner: BlobBackend | None = None,
    ) -> None:  # fmt: skip
        self._web = web
        self._objects = objects
        self._key = key
        self._inner = inner
        self._settings = web.settings
        self._ranged: bool | None = None

    @property
    def name(self) -> str:
        """As it was configured."""
        return self._settings.label

    @property
    def writable(self) -> bool:
        """It is not."""
        return False

    async def stat(self, blob: BlobName) -> int | None:
        """Size in bytes, None if the server does not tell.

        Raises:
            NotFound: no such file. UpstreamFailed: the server can't tell.
            TooLarge: it is beyond ``blob_bytes_max``.

        """
        with blamed(self.name):
            try:
                size = (await self._objects.stat(self._key(blob))).size
            except Unsupported:
                return None
        self._check_size(size)
        return size

    async def get(self, blob: BlobName, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` on; see ``BlobBackend``."""
        size = await self.stat(blob)
        ranged = size is not None and await self._parts(blob, size)
        if ranged and self._inner is not None:
            body = self._inner.get(blob, start)
        else:
            body = self._stream(blob, start, size if ranged else None, size)
        with blamed(self.name):
            async with aclosing(body) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _parts(self, blob: BlobName, size: int) -> bool:
        """Whether the server is known to send parts of files; it is asked until it tells."""
        if self._ranged is None and size:
            try:
                self._ranged = await self._web.ranged(self._key(blob))
            except Unavailable as fault:  # All of it is read then, and the next blob asks again.
                log.info("ranges.unknown", backend=self.name, reason=str(fault))
        return bool(self._ranged)

    async def _stream(
        self, blob: BlobName, start: int, ranged: int | None, size: int | None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob of ``size``, in parts if ``ranged`` says so, too."""
        received, key = start, self._key(blob)
        for _ in range(RESUMES_MAX):
            before = received
            span = None if ranged is None else Span(received, ranged - received)
            skip = received if span is None else 0
            try:
                async with aclosing(self._objects.get(key, span)) as chunks:
                    async for chunk in chunks:
                        fresh, skip = chunk[skip:], max(0, skip - len(chunk))
                        if fresh:
                            received += len(fresh)
                            self._check_size(received)
                            yield fresh
            except Unavailable as fault:
                if received == before:
                    raise
                log.info("blob.broke", backend=self.name, digest=blob.digest.short,
                         received=received, reason=str(fault))  # fmt: skip
            else:
                if skip or size not in {None, received}:
                    raise Corrupt(f"{self.name} has changed a file while it was read")
                return
        raise Unavailable(f"{self.name} breaks off again and again", resumes=RESUMES_MAX)

    def _check_size(self, size: int) -> None:
        if size > self._settings.blob_bytes_max:
            raise TooLarge(f"{self.name} has a blob beyond the limit",
                           bytes_max=self._settings.blob_bytes_max)  # fmt: skip

    async def put(self, blob: BlobName, content: Content) -> None:
        """Raises Unsupported."""
        del content
        raise Unsupported(f"{self.name} is only read", digest=str(blob.digest))

    async def delete(self, blob: BlobName) -> None:
        """Raises Unsupported."""
        raise Unsupported(f"{self.name} is only read", digest=str(blob.digest))

    async def metainfo(self, blob: BlobName) -> bytes:
        """What somebody else has put beside the blob, where urls have room for it."""
        if self._inner is None:
            raise NotFound(f"{self.name} has no place for metainfo", digest=str(blob.digest))
        return await self._inner.metainfo(blob)

    async def put_metainfo(self, blob: BlobName, encoded: bytes) -> None:
        """Nothing: it is only read."""
        del blob, encoded
