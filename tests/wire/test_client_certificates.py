"""Certificates of clients: asked for or not, proven or refused, and their names told to handlers."""

import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from octopull.config.services import Listen
from octopull.config.tls import Clients, Tls
from octopull.http.server import application
from octopull.http.serving import serve
from octopull.kernel.errors import Misuse
from octopull.security import reloading
from octopull.security.identity import caller_certificate
from octopull.security.tls import server_context
from support.client_certificates import certificate
from support.waiting import until


async def asked(folder: Path, clients: Clients, shown: str | None) -> str:
    """What a handler learns of a client that shows the certificate ``shown``."""
    app = application("test")

    async def who(request: web.Request) -> web.Response:
        names = caller_certificate(request.transport)
        if names is None:
            return web.Response(text="nobody")
        return web.Response(text=f"{names.common} {names.dns[0]} {names.addresses} {names.uris}")

    app.router.add_get("/who", who)
    server_files, known_files = certificate(folder, "server"), certificate(folder, "known")
    tls = Tls(certificate=server_files[0], key=server_files[1],
              authority=known_files[0], clients=clients)  # fmt: skip
    trust = ssl.create_default_context(cafile=server_files[0])
    if shown is not None:
        trust.load_cert_chain(*(known_files if shown == "known" else certificate(folder, shown)))
    async with (
        serve(app, "test", Listen(tls=tls)) as listening,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
        session.get(f"{listening.url}/who") as response,
    ):
        return await response.text()


KNOWN = "known known.example ('127.0.0.1',) ('test://known',)"


@pytest.mark.parametrize(
    ("clients", "shown", "heard"),
    [
        (Clients.UNASKED, "known", "nobody"),
        (Clients.ASKED, None, "nobody"),
        (Clients.ASKED, "known", KNOWN),
        (Clients.REQUIRED, "known", KNOWN),
    ],
)
async def test_a_handler_learns_the_names_that_were_proven(
    clients: Clients, shown: str | None, heard: str, tmp_path: Path
) -> None:
    assert await asked(tmp_path, clients, shown) == heard


@pytest.mark.parametrize(
    ("clients", "shown"),
    [(Clients.REQUIRED, None), (Clients.REQUIRED, "stranger"), (Clients.ASKED, "stranger")],
)
async def test_a_client_without_a_certificate_that_counts_gets_no_answer(
    clients: Clients, shown: str | None, tmp_path: Path
) -> None:
    with pytest.raises(aiohttp.ClientError):
        await asked(tmp_path, clients, shown)


def believe(authority: Path, *known: tuple[str, str]) -> None:
    authority.write_text("".join(Path(made).read_text() for made, _ in known))


async def test_a_connection_does_not_outlive_its_clients_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "LOOK_S", 0.01)
    app = application("test")

    async def who(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.json_response(request.transport.get_extra_info("peername")[1])

    app.router.add_get("/who", who)
    server, dropped, stays = (
        certificate(tmp_path, name) for name in ("server", "dropped", "stays")
    )
    authority = tmp_path / "authority.pem"
    believe(authority, dropped, stays)
    tls = Tls(certificate=server[0], key=server[1], authority=str(authority), clients=Clients.ASKED)
    async with serve(app, "test", Listen(tls=tls)) as listening, AsyncExitStack() as stack:
        sessions = []
        for own in (dropped, stays):
            trust = ssl.create_default_context(cafile=server[0])
            trust.load_cert_chain(*own)
            connector = aiohttp.TCPConnector(ssl=trust)
            sessions.append(
                await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            )

        async def asked(session: aiohttp.ClientSession) -> tuple[int, str]:
            async with session.get(f"{listening.url}/who") as response:
                return response.status, await response.text()

        ports = [await asked(session) for session in sessions]
        assert [status for status, _ in ports] == [200, 200]
        believe(authority, stays)

        async def refused() -> bool:
            return (await asked(sessions[0]))[0] == 403

        await until(refused, 5)
        with pytest.raises(aiohttp.ClientError):
            await asked(sessions[0])
        assert await asked(sessions[1]) == ports[1], "the same connection"


def test_authorities_that_cant_be_read_are_told_before_anything_listens(tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "one")
    wrong = Tls(certificate=made, key=key, authority=key, clients=Clients.ASKED)
    with pytest.raises(Misuse, match="no certificates of an authority"):
        server_context(wrong)
