"""Stock clients where signatures are demanded: what is not signed is not pulled, and they say why."""

import asyncio
import base64
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from oci_image import Image, Layer, build
from registry_clients import ClientFailed, Containerd, Docker, Podman, Skopeo, run
from support import access
from support.clients import Clients
from support.cluster import content, up
from support.signing import FORMS, Signer
from support.waiting import until

INSECURE = "--tls-verify=false"
SIGNER = Signer()
WHY = "denied: team/{0}@{1} is not signed by any key that team/[*][*] demands"
CONTAINERD = "403 Forbidden"
"""Its older versions read no reason."""

SOON_S = 20.0


@dataclass(frozen=True)
class Site:
    """A cluster that demands signatures."""

    proxy: str
    agent: str
    image: Image

    def push(self, repository: str) -> None:
        """The image, unsigned."""
        run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds",
            pair("alice"), f"oci:{self.image.folder}:v1", f"docker://{self.proxy}/{repository}:v1")  # fmt: skip

    def sign(self, repository: str, form: str) -> None:
        """As cosign does."""
        name = self.image.digest.removeprefix("sha256:")
        manifest = (self.image.folder / "blobs" / "sha256" / name).read_bytes()

        async def push() -> None:
            async with aiohttp.ClientSession() as session:
                who = access.As(session, self.proxy, access.basic("alice"))
                await SIGNER.sign(manifest, form).push(who, repository)

        asyncio.run(push())


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    here = folder / "signed"
    settings: dict[str, Any] = access.files(here / "access")
    (here / "access" / "cosign.pub").write_bytes(SIGNER.public)
    demand = {"repositories": ["team/**"], "keys": ["cosign.pub"]}
    Path(settings["policy"]).write_text(
        yaml.safe_dump({"rules": access.RULES, "signatures": [demand]})
    )
    (here / "access.yaml").write_text(yaml.safe_dump({"access": settings}))
    (here / "small.bin").write_bytes(content(100_000, 5))
    image = build(here / "image", "v1", [Layer(here / "small.bin", "data", compressed=True)])
    with up(here / "cluster", "--agents", "1", "--access", str(here / "access.yaml")) as found:
        yield Site(found["proxy"], found["agents"][0]["http"], image)


def pair(user: str) -> str:
    return f"{user}:{access.password(user)}"


Pull = Callable[[str], object]


def puller(clients: Clients, client: str, folder: Path, registry: str) -> Pull:
    """Pulls a name of ``registry`` as bob, whom the rules let pull."""
    if client == "skopeo":
        clients(Skopeo)
        return lambda name: run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false",
                                "--src-creds", pair("bob"), f"docker://{name}", f"dir:{folder / 'out'}")  # fmt: skip
    if client == "podman":
        podman = clients(Podman)
        return lambda name: podman.run(
            "pull", INSECURE, *podman.policy, "--creds", pair("bob"), name
        )
    if client == "containerd":
        containerd = clients(Containerd)
        return lambda name: containerd.run("images", "pull", "--snapshotter", "native",
                                           "--plain-http", "--user", pair("bob"), name)  # fmt: skip
    docker = clients(Docker)
    docker.run("login", "-u", "bob", "-p", access.password("bob"), registry)
    return lambda name: docker.run("pull", name)


@pytest.mark.parametrize("side", ["proxy", "agent"])
@pytest.mark.parametrize("client", ["skopeo", "podman", "docker", "containerd"])
def test_a_client_says_why_it_can_not_pull_and_pulls_once_it_is_signed(
    clients: Clients, site: Site, tmp_path: Path, client: str, side: str
) -> None:
    registry, name = getattr(site, side), f"{client}-{side}"
    pull = puller(clients, client, tmp_path, registry)
    site.push(f"team/{name}")
    why = CONTAINERD if client == "containerd" else WHY.format(name, site.image.digest)
    with pytest.raises(ClientFailed, match=why):
        pull(f"{registry}/team/{name}:v1")
    for form in FORMS:
        site.sign(f"team/{name}", form)
    _soon(lambda: pull(f"{registry}/team/{name}:v1"))


OLD = ("--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false")
WORDS: dict[str, tuple[str, ...]] = {
    "tag": OLD,
    "referrer": (*OLD, "--registry-referrers-mode=oci-1-1"),
    "bundle": ("--signing-config", "offline.json"),
}
"""How ``cosign sign`` (version 3) is told to write each form, and to ask no log."""


@pytest.mark.skipif(shutil.which("cosign") is None, reason="cosign is not installed")
@pytest.mark.parametrize("form", FORMS)
def test_what_cosign_signs_is_pulled_and_cosign_verifies_it_through_the_agent(
    clients: Clients, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    auth = {one: {"auth": base64.b64encode(pair("alice").encode()).decode()}
            for one in (site.proxy, site.agent)}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"auths": auth}))
    private = SIGNER.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "cosign.pub").write_bytes(SIGNER.public)
    for name, value in (("DOCKER_CONFIG", str(tmp_path)), ("COSIGN_PASSWORD", ""),
                        ("COSIGN_EXPERIMENTAL", "1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    (tmp_path / "offline.json").write_text(run("cosign", "signing-config", "create"))
    run("cosign", "import-key-pair", "--key", "key.pem", "-o", "cosign", "--yes")
    repository = f"team/cosign-{form}"
    site.push(repository)
    name = f"{repository}@{site.image.digest}"
    run("cosign", "sign", "--key", "cosign.key", *WORDS[form], "--yes", "--allow-http-registry",
        f"{site.proxy}/{name}")  # fmt: skip
    _soon(lambda: puller(clients, "skopeo", tmp_path, site.agent)(f"{site.agent}/{name}"))
    look = ("--experimental-oci11",) if form == "referrer" else ()
    run("cosign", "verify", "--key", "cosign.pub", "--insecure-ignore-tlog", *look,
        "--allow-http-registry", f"{site.agent}/{name}")  # fmt: skip


def _soon(pull: Callable[[], object]) -> None:
    """Pull again and again: a refusal counts for half a second."""

    async def pulled() -> bool:
        try:
            pull()
        except ClientFailed as failed:
            refused.append(failed)
            return False
        return True

    refused = list[ClientFailed]()
    try:
        asyncio.run(until(pulled, SOON_S))
    except TimeoutError:
        raise refused[-1] from None
