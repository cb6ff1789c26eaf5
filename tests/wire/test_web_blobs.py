"""Blobs of a web server: in ranges, in one stream, and over connections that break."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from aiohttp import web as aioweb

from octopull.backends import web
from octopull.backends.contract import BlobName
from octopull.backends.layouts import blob_key, metainfo_key
from octopull.backends.opening import opened
from octopull.backends.web_blobs import RESUMES_MAX, WebBlobs, key_by_digest
from octopull.config.backends import BackendSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound, TooLarge, Unsupported, UpstreamFailed
from octopull.oci.ranges import parse_range
from support.contents import Bytes, joined
from support.servers.front import listening
from support.servers.nginx import nginx

CONTENT = os.urandom(1_000_000)
BLOB = BlobName("team/app", Digest.of(CONTENT))
EMPTY = BlobName("team/app", Digest.of(b""))


@asynccontextmanager
async def blobs(url: str, **settings: object) -> AsyncIterator[WebBlobs]:
    """By digest where the url has fields, else by a flat layout."""
    found = BackendSettings(url=url, timeout_s=5, **settings)  # type: ignore[arg-type]
    async with web.connected(found) as files:
        by_digest = web.by_digest(url)
        yield WebBlobs(files, files, key_by_digest if by_digest else lambda one: one.digest.hex)


@pytest.mark.parametrize("place", ["/files", "/whole", "/headless", "/files/{hex}"])
async def test_blobs_are_read_from_any_byte_on(place: str) -> None:
    async with nginx() as server, blobs(server.url + place) as store:
        for blob, content in ((BLOB, CONTENT), (EMPTY, b"")):
            (server.files / blob.digest.hex).write_bytes(content)
            assert await store.stat(blob) == len(content)
            for start in {0, 1, len(content) // 2, len(content) - 1, len(content)} - {-1}:
                assert await joined(store.get(blob, min(start, len(content)))) == content[start:]


@pytest.mark.parametrize("place", ["/files", "/whole", "/unsized"])
async def test_a_registrys_folder_is_read_behind_all_decorators(place: str) -> None:
    content = os.urandom(20_000_000)
    blob = BlobName("team/app", Digest.of(content))
    settings = BackendSettings(url="http://nowhere")
    async with nginx() as server, opened([replace(settings, url=server.url + place)]) as found:
        store = found.of("team/app")
        assert store is not None
        for key, written in (
            (blob_key(settings.layout, blob.digest), content),
            (metainfo_key(settings.layout, blob.digest), b"metainfo"),
        ):
            path = server.files / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(written)
        assert await store.stat(blob) == (None if place == "/unsized" else len(content))
        assert await joined(store.get(blob)) == content
        assert await joined(store.get(blob, 7)) == content[7:]
        assert await store.metainfo(blob) == b"metainfo"
        with pytest.raises(NotFound):
            await store.stat(BLOB)
        with pytest.raises(NotFound):
            await store.metainfo(BLOB)
        assert not store.writable


async def test_blobs_of_unknown_size_are_read_to_the_end() -> None:
    async with nginx() as server, blobs(f"{server.url}/unsized") as store:
        (server.files / BLOB.digest.hex).write_bytes(CONTENT)
        assert await store.stat(BLOB) is None
        assert await joined(store.get(BLOB)) == CONTENT
        assert await joined(store.get(BLOB, 5)) == CONTENT[5:]
        with pytest.raises(Corrupt):
            await joined(store.get(BLOB, len(CONTENT) + 1))


async def test_the_server_is_to_blame() -> None:
    async with nginx() as server:
        async with blobs(f"{server.url}/files") as store:
            with pytest.raises(NotFound):
                await store.stat(BLOB)
            with pytest.raises(NotFound):
                await joined(store.get(BLOB))
        for place in ("/busy", "/forbidden"):
            async with blobs(server.url + place, name="files") as store:
                with pytest.raises(UpstreamFailed, match="files") as told:
                    await store.stat(BLOB)
                with pytest.raises(UpstreamFailed, match="files"):
                    await joined(store.get(BLOB))
                assert ("rests_s" in told.value.details) == (place == "/busy")


async def test_blobs_beyond_the_limit_are_not_read() -> None:
    limit = len(CONTENT) - 1
    async with nginx() as server:
        (server.files / BLOB.digest.hex).write_bytes(CONTENT)
        async with blobs(f"{server.url}/files", blob_bytes_max=limit) as store:
            with pytest.raises(TooLarge):
                await store.stat(BLOB)
        async with blobs(f"{server.url}/unsized", blob_bytes_max=limit) as store:
            with pytest.raises(TooLarge):
                await joined(store.get(BLOB))


async def test_nothing_is_written() -> None:
    async with blobs("http://127.0.0.1:1/{digest}") as store:
        assert not store.writable
        with pytest.raises(Unsupported):
            await store.put(BLOB, Bytes(CONTENT))
        with pytest.raises(Unsupported):
            await store.delete(BLOB)
        await store.put_metainfo(BLOB, b"x")
        with pytest.raises(NotFound):
            await store.metainfo(BLOB)


@dataclass
class Breaking:
    """A server whose bodies break off after ``after`` bytes, ``cuts`` times."""

    ranges: bool
    sizes: bool
    cuts: int = 3
    after: int = 200_000
    bodies: int = 0

    async def answer(self, request: aioweb.Request) -> aioweb.StreamResponse:
        """All of the blob, or a part."""
        asked = parse_range(request.headers.get("Range"), len(CONTENT)) if self.ranges else None
        body, response = CONTENT, aioweb.StreamResponse(status=206 if asked else 200)
        if asked:
            last = asked.start + asked.length - 1
            response.headers["Content-Range"] = f"bytes {asked.start}-{last}/{len(CONTENT)}"
            body = CONTENT[asked.start : last + 1]
        if self.sizes:
            response.content_length = len(body)
        elif request.method == "HEAD":
            return aioweb.Response(status=405)
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        if len(body) > self.after:
            self.bodies += 1
            if self.cuts:
                self.cuts -= 1
                await response.write(body[: self.after])
                assert request.transport is not None
                request.transport.abort()
                return response
        await response.write(body)
        return response


@asynccontextmanager
async def breaking(one: Breaking) -> AsyncIterator[WebBlobs]:
    app = aioweb.Application()
    app.router.add_get("/{digest}", one.answer)
    runner = aioweb.AppRunner(app, shutdown_timeout=0.1)
    async with listening(runner) as address, blobs(f"http://{address}/{{digest}}") as store:
        yield store


async def test_parts_go_on_where_a_connection_broke() -> None:
    server = Breaking(ranges=True, sizes=True)
    async with breaking(server) as store:
        assert await joined(store.get(BLOB, 10)) == CONTENT[10:]
        assert server.bodies == 4


@pytest.mark.parametrize("sizes", [True, False])
async def test_whole_bodies_that_break_are_begun_anew(sizes: bool) -> None:
    server = Breaking(ranges=False, sizes=sizes, cuts=1)
    async with breaking(server) as store:
        assert await joined(store.get(BLOB, 10)) == CONTENT[10:]
    assert server.cuts == 0


@pytest.mark.parametrize(("ranges", "after"), [(True, 100), (False, 100_000)])
async def test_a_server_that_always_breaks_fails(ranges: bool, after: int) -> None:
    server = Breaking(ranges=ranges, sizes=True, cuts=1000, after=after)
    async with breaking(server) as store:
        with pytest.raises(UpstreamFailed):
            await joined(store.get(BLOB))
    # The question whether there are parts is answered by all of it where there are none.
    assert server.bodies == (RESUMES_MAX if ranges else 3)
