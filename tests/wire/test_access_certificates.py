"""Clients that show certificates: their names are whom rules are about."""

import ssl
from pathlib import Path

import aiohttp

from octopull.config.access import AccessSettings
from octopull.config.services import Listen, ProxyConfig
from octopull.config.tls import Clients, Tls
from octopull.security.roles import Role
from octopull.services.proxy.app import run
from support import access
from support.access import shown
from support.authorities import new
from support.client_certificates import asking_for_certificates, showing, upload_of
from support.ports import free_ports
from support.registry import digest_of
from support.services import started


async def test_a_certificate_pushes_and_who_has_none_is_asked_for_a_login(tmp_path: Path) -> None:
    async with asking_for_certificates(tmp_path) as url:
        async with showing(tmp_path, "known") as known:
            async with known.post(upload_of(url, b"blob"), data=b"blob") as answer:
                assert answer.status == 201
            async with known.get(f"{url}/v2/team/app/tags/list") as answer:
                assert answer.status == 401, "a login may help"
                told = (await answer.json())["errors"][0]["message"]
                assert told.startswith("the bearer of certificate known may not pull")
            # Who logs in besides is both.
            async with known.get(
                f"{url}/v2/team/app/blobs/{digest_of(b'blob')}", headers=shown("alice")
            ) as answer:
                assert answer.status == 200
        async with showing(tmp_path) as stranger:
            async with stranger.post(upload_of(url, b"blob"), data=b"blob") as answer:
                assert answer.status == 401
            async with stranger.post(
                upload_of(url, b"blob"), data=b"blob", headers=shown("alice")
            ) as answer:
                assert answer.status == 403


async def test_a_certificate_gets_a_token(tmp_path: Path) -> None:
    scope = "repository:team/app:pull,push"
    async with (
        asking_for_certificates(tmp_path, tokens=True) as url,
        showing(tmp_path, "known") as known,
    ):
        async with known.get(f"{url}/token?scope={scope}") as answer:
            token = (await answer.json())["token"]
        async with showing(tmp_path) as stranger:
            headers = {"Authorization": f"Bearer {token}"}
            async with stranger.post(
                upload_of(url, b"blob"), data=b"blob", headers=headers
            ) as answer:
                assert answer.status == 201


async def test_a_port_for_administrators_is_not_for_the_clusters_other_services(
    tmp_path: Path,
) -> None:
    authority = new(tmp_path / "certificates")
    own = authority.files(Role.PROXY)
    tls = Tls(
        certificate=own.certificate, key=own.key, authority=own.authority, clients=Clients.REQUIRED
    )
    origin, tag_index = (f"127.0.0.1:{port}" for port in free_ports(2))
    config = ProxyConfig(
        origins=[origin], tag_indexes=[tag_index], replicas=1, admin=Listen(tls=tls),
        access=AccessSettings(**access.files(tmp_path / "access")),
    )  # fmt: skip
    async with started(run, config) as proxy, aiohttp.ClientSession() as session:
        for role in Role:
            files = authority.files(role, name="caller")
            context = ssl.create_default_context(cafile=files.authority)
            context.load_cert_chain(files.certificate, files.key)
            url = f"https://127.0.0.1:{proxy.admin_port}/metrics"
            async with session.get(url, ssl=context) as answer:
                assert answer.status == (200 if role is Role.OPERATOR else 403), role
                text = await answer.text()
            assert role is Role.OPERATOR or "this port is for operators" in text
