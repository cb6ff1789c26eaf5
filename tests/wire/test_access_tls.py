"""Access in a cluster whose services prove to each other who they are: neither stands in the other's way."""

import ssl
from pathlib import Path

import aiohttp

from octopull.cli.cluster import Ports, running
from octopull.cli.embedded_access import MAKE_ONE
from octopull.cli.own_certificates import OwnCertificates
from octopull.config.access import AccessSettings, TokenServiceSettings
from octopull.oci import challenges
from octopull.oci.manifests import MediaType
from support import access
from support.access import shown
from support.images import image
from support.registry import digest_of

REPOSITORY = "team/app"


async def test_private_images_are_pushed_and_pulled_where_all_services_speak_tls(
    tmp_path: Path,
) -> None:
    own = OwnCertificates(tmp_path / "tls", "127.0.0.1")
    own.make()
    settings = AccessSettings(
        **access.files(tmp_path / "access"), token_service=TokenServiceSettings(key=MAKE_ONE)
    )
    async with running(
        tmp_path / "data", 1, Ports(0, "127.0.0.1"), access=settings, certificates=own
    ) as cluster:
        trust = ssl.create_default_context(cafile=str(own.trusted / "ca.crt"))
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            pushed, proxy = image(1, 300_000), cluster.proxy.url
            for blob in pushed.blobs:
                url = f"{proxy}/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(blob)}"
                async with session.post(url, data=blob, headers=shown("alice")) as answer:
                    assert answer.status == 201, await answer.text()
            url = f"{proxy}/v2/{REPOSITORY}/manifests/v1"
            kind = {"Content-Type": MediaType.OCI_MANIFEST.value}
            async with session.put(
                url, data=pushed.manifest, headers={**shown("alice"), **kind}
            ) as answer:
                assert answer.status == 201, await answer.text()
            agent = f"{cluster.agents[0].url}/v2/{REPOSITORY}"
            # Asked for before its manifest: the agent must ask whether it is held.
            layer = f"{agent}/blobs/{digest_of(pushed.blobs[1])}"
            async with session.get(layer) as answer:
                (told,) = challenges.parse(answer.headers["WWW-Authenticate"])
            realm, scope = told.parameters["realm"], told.parameters["scope"]
            assert realm == f"{proxy}/token"
            for user, status in (("bob", 200), ("carol", 401)):
                async with session.get(f"{realm}?scope={scope}", headers=shown(user)) as answer:
                    token = (await answer.json())["token"]
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(layer, headers=headers) as answer:
                    assert answer.status == status, await answer.text()
                    assert status != 200 or await answer.read() == pushed.blobs[1]
                by_digest = f"{agent}/manifests/{digest_of(pushed.manifest)}"
                async with session.get(by_digest, headers=headers) as answer:
                    assert answer.status == status
