"""HTTPS on the transport of our own: bodies both ways, strangers, and clients that leave."""

import asyncio
import contextlib
import io
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from octopull.config.services import Listen
from octopull.config.tls import Tls
from octopull.http.server import application
from octopull.http.serving import Listening, serve
from octopull.http.streams import send_blob
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.security.tls import server_context
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads
from support.cluster import content
from support.self_signed import certificate

SIZE = 9_000_001


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Listening]:
    """Serves one blob at /blob and answers a body's length at /length."""
    store = DiskStore(tmp_path / "store")
    uploads, blob = Uploads(store), content(SIZE, 1)
    session = uploads.start()
    uploads.append(session, 0, blob)
    uploads.commit(session, Digest.of(blob))
    app = application("test")

    async def get(request: web.Request) -> web.StreamResponse:
        with store.open(Digest.of(blob)) as source:
            return await send_blob(request, source, {})

    async def put(request: web.Request) -> web.Response:
        count = 0
        async for chunk in request.content.iter_any():
            count += len(chunk)
        return web.Response(text=str(count))

    app.add_routes([web.get("/blob", get), web.put("/length", put)])
    async with serve(app, "test", Listen(tls=certificate(tmp_path))) as listening:
        yield listening


@pytest.fixture
async def client(server: Listening, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    trust = ssl.create_default_context(cafile=str(tmp_path / "one.pem"))
    async with aiohttp.ClientSession(
        server.url, connector=aiohttp.TCPConnector(ssl=trust)
    ) as session:
        yield session


async def test_a_blob_comes_whole_and_by_range(client: aiohttp.ClientSession) -> None:
    async with client.get("/blob") as response:
        assert await response.read() == content(SIZE, 1)
    async with client.get("/blob", headers={"Range": "bytes=100000-5000000"}) as response:
        assert response.status == 206
        assert await response.read() == content(SIZE, 1)[100000:5000001]


async def test_bodies_go_both_ways_on_one_connection(client: aiohttp.ClientSession) -> None:
    for size in (0, 1, SIZE):
        async with client.put("/length", data=io.BytesIO(content(size, 2))) as response:
            assert await response.text() == str(size)


async def test_many_at_once_and_a_reader_that_stalls(
    server: Listening, client: aiohttp.ClientSession
) -> None:
    slow = await asyncio.open_connection(
        server.host, server.port, ssl=client.connector._ssl, server_hostname="localhost",  # type: ignore[union-attr]
        limit=1024,
    )  # fmt: skip
    slow[1].write(b"GET /blob HTTP/1.1\r\nHost: localhost\r\n\r\n")

    async def fetch() -> bytes:
        async with client.get("/blob") as response:
            return await response.read()

    bodies = await asyncio.gather(*(fetch() for _ in range(5)))
    assert set(bodies) == {content(SIZE, 1)}
    head = await slow[0].readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert await slow[0].readexactly(SIZE) == content(SIZE, 1)
    slow[1].close()


async def test_a_client_that_hangs_up_in_the_middle_harms_nobody(
    server: Listening, client: aiohttp.ClientSession
) -> None:
    response = await client.get("/blob")
    await response.content.readexactly(1000)
    assert response.connection is not None
    assert response.connection.transport is not None
    response.connection.transport.abort()
    async with client.get("/blob") as again:
        assert len(await again.read()) == SIZE


async def test_strangers_that_speak_no_tls_are_turned_away(
    server: Listening, client: aiohttp.ClientSession
) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /blob HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert not (await reader.read()).startswith(b"HTTP")
    writer.close()
    async with client.get("/health") as response:
        assert response.status == 200


async def test_strangers_that_say_nothing_do_not_shut_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octopull.http.tls.HANDSHAKES_MAX", 3)
    listen = Listen(tls=certificate(tmp_path))
    trust = ssl.create_default_context(cafile=str(tmp_path / "one.pem"))
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(application("test"), "test", listen))
        for _ in range(9):
            stack.enter_context(socket.create_connection((server.host, server.port)))
        connector = aiohttp.TCPConnector(ssl=trust)
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        url = server.url.replace("127.0.0.1", "localhost")
        async with client.get(f"{url}/health") as response:
            assert response.status == 200


async def test_old_versions_of_tls_are_refused(server: Listening) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection(server.host, server.port, ssl=old, server_hostname="x")


def test_a_key_of_another_certificate_is_told_before_anything_listens(tmp_path: Path) -> None:
    one, other = certificate(tmp_path), certificate(tmp_path, "other")
    with pytest.raises(Misuse, match="no TLS with certificate"):
        server_context(Tls(certificate=one.certificate, key=other.key))
    with pytest.raises(Misuse, match="no TLS with certificate"):
        server_context(Tls(certificate=str(tmp_path / "none"), key=one.key))


async def test_the_port_is_free_again_after_the_end(tmp_path: Path) -> None:
    listen = Listen(tls=certificate(tmp_path))
    async with serve(application("test"), "test", listen) as listening:
        port = listening.port
    with socket.create_server(("127.0.0.1", port)):
        pass
