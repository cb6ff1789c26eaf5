"""Bodies of blobs: sent by ``sendfile`` as far as the bytes are proven, then as they come."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from aiohttp import web

from octopull.http.tls import TlsTransport
from octopull.kernel.errors import Fault, TooLarge
from octopull.observability import logs
from octopull.oci.manifests import MANIFEST_BYTES_MAX
from octopull.oci.ranges import Span, parse_range

log = logs.get("http")


class FileSource(Protocol):
    """A blob in a file that may still be arriving; ``fd`` stays open while it is sent."""

    @property
    def size(self) -> int:
        """Bytes of the whole blob."""
        ...

    @property
    def fd(self) -> int:
        """An open file that holds at least the proven bytes, at their offsets."""
        ...

    async def proven(self, offset: int) -> int:
        """Wait until byte ``offset`` is proven; return the end of the proven run it is in.

        Raises:
            Fault: it will not be.

        """
        ...


@dataclass(frozen=True, slots=True)
class MemoryBlob:
    """A small blob in memory, proven."""

    content: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole blob."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class _File:
    """As much of a file object as ``loop.sendfile`` needs; the position is not used."""

    fd: int

    def fileno(self) -> int:
        return self.fd


BlobSource = FileSource | MemoryBlob


async def send_blob(
    request: web.Request, source: BlobSource, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer a GET or HEAD for ``source``, whole or by ``Range`` (RFC 9110 section 14).

    The status is sent once the first byte is proven, so a blob that can't be had is an
    error status and not a broken 200. If it fails later the connection is cut short of
    ``Content-Length``, which every client reports.

    Raises:
        InvalidRange: the range lies outside the blob.
        Fault: the first byte will not come.

    """
    if isinstance(source, MemoryBlob):
        return await _answer(request, source, -1, headers)
    # A file number of our own: the source may be closed while a slow client still reads.
    fd = os.dup(source.fd)
    try:
        return await _answer(request, source, fd, headers)
    finally:
        os.close(fd)


async def _answer(
    request: web.Request, source: BlobSource, fd: int, headers: Mapping[str, str]
) -> web.StreamResponse:
    span = parse_range(request.headers.get("Range"), source.size)
    start, length = (span.start, span.length) if span else (0, source.size)
    response = web.StreamResponse(status=206 if span else 200, headers=dict(headers))
    response.content_length = length
    response.headers["Accept-Ranges"] = "bytes"
    if span:
        response.headers["Content-Range"] = content_range(span, source.size)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    if length and not isinstance(source, MemoryBlob):
        await source.proven(start)
    await response.prepare(request)
    async with _whole_or_cut(request):
        if isinstance(source, MemoryBlob):
            await response.write(memoryview(source.content)[start : start + length])
        else:
            await _send(request, source, fd, start, length)
        await response.write_eof()
    return response


async def relay_blob(
    request: web.Request, response: web.StreamResponse, body: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Answer with ``response``, whose length is set, and ``body``; cut short if that breaks."""
    await response.prepare(request)
    async with _whole_or_cut(request):
        async for chunk in body:
            await response.write(chunk)
        await response.write_eof()
    return response


@asynccontextmanager
async def _whole_or_cut(request: web.Request) -> AsyncIterator[None]:
    """A body that fails after its status was sent ends the connection.

    Anything else would have the client take an error page for the blob's next bytes.
    """
    try:
        yield
    except (Fault, OSError, aiohttp.ClientError, TimeoutError) as error:
        log.info("blob.cut_short", path=request.path[:200], reason=str(error) or repr(error))
        if request.transport is not None:
            request.transport.abort()


async def read_manifest(body: aiohttp.StreamReader) -> bytes:
    """All of a body that should be a manifest.

    Raises:
        TooLarge: beyond ``MANIFEST_BYTES_MAX``.

    """
    content = bytearray()
    async for chunk in body.iter_any():
        content += chunk
        if len(content) > MANIFEST_BYTES_MAX:
            raise TooLarge("the manifest is beyond the limit", bytes_max=MANIFEST_BYTES_MAX)
    return bytes(content)


def content_range(span: Span, size: int) -> str:
    """The ``Content-Range`` of a 206 (RFC 9110 section 14.4)."""
    return f"bytes {span.start}-{span.start + span.length - 1}/{size}"


async def _send(request: web.Request, source: FileSource, fd: int, start: int, length: int) -> None:
    end, file, loop = start + length, _File(fd), asyncio.get_running_loop()
    while start < end:
        proven = min(end, await source.proven(start))
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away")
        if isinstance(transport, TlsTransport):
            await transport.send_file(fd, start, proven - start)
        else:
            # The annotation asks for a whole file object; the loop asks for its number alone.
            await loop.sendfile(transport, file, start, proven - start)  # type: ignore[arg-type]
        start = proven
