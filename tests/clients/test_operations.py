"""What clients do beside pushing and pulling: inspect, list, copy, and whole indexes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci_image import MANIFEST, Image
from octopull.kernel.digest import Digest
from registry_clients import Buildah, Containerd, Docker, Podman, Skopeo, contents, run
from support.clients import Clients
from support.multi_arch import ARCHITECTURES, build_index
from support.sdk_clients import DockerSdk, Oras, Umoci

INSECURE = "--tls-verify=false"
NAME = "operations/image:v1"
REPOSITORY = "operations/image"


@pytest.fixture(scope="module", autouse=True)
def pushed(clients: Clients, image: Image, proxy: str) -> None:
    for tag in ("v1", "v2"):
        clients(Skopeo).push(image.folder, "v1", f"{proxy}/{REPOSITORY}:{tag}")


@pytest.fixture(params=["proxy", "agent"])
def registry(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


Inspect = Callable[[Clients, str], Any]
INSPECTING: dict[str, Inspect] = {
    "skopeo": lambda _, name: {
        "layers": [{"digest": one} for one in json.loads(
            run("skopeo", "inspect", INSECURE, f"docker://{name}"))["Layers"]]
    },
    "skopeo-raw": lambda _, name: json.loads(
        run("skopeo", "inspect", "--raw", INSECURE, f"docker://{name}")
    ),
    "docker": lambda clients, name: json.loads(
        clients(Docker).run("manifest", "inspect", "--insecure", name)
    ),
    "oras": lambda _, name: manifest_by_oras(name),
}  # fmt: skip


def manifest_by_oras(name: str) -> Any:
    oras = Oras(name.partition("/")[0])
    found = oras.sdk.get_manifest(name)
    oras.close()
    return found


@pytest.mark.parametrize("client", INSPECTING)
def test_inspecting_shows_what_was_pushed(
    clients: Clients, image: Image, registry: str, client: str
) -> None:
    stored = (image.folder / "blobs" / "sha256" / image.digest.removeprefix("sha256:")).read_text()
    shown = INSPECTING[client](clients, f"{registry}/{NAME}")
    assert [layer["digest"] for layer in shown["layers"]] == [
        layer["digest"] for layer in json.loads(stored)["layers"]
    ]


def test_the_raw_manifest_is_byte_for_byte_what_was_pushed(image: Image, registry: str) -> None:
    raw = run("skopeo", "inspect", "--raw", INSECURE, f"docker://{registry}/{NAME}")
    assert str(Digest.of(raw.encode())) == image.digest


def registry_data(clients: Clients, name: str) -> Any:
    sdk = clients(DockerSdk).open()
    try:
        return sdk.images.get_registry_data(name)
    finally:
        sdk.close()


def test_the_docker_sdk_sees_the_digest(clients: Clients, image: Image, registry: str) -> None:
    data = registry_data(clients, f"{registry}/{NAME}")
    assert data.id == image.digest
    assert data.attrs["Descriptor"]["mediaType"] == MANIFEST


LISTING: dict[str, Callable[[Clients, str], Any]] = {
    "skopeo": lambda _, name: json.loads(
        run("skopeo", "list-tags", INSECURE, f"docker://{name}"))["Tags"],
    "podman": lambda clients, name: [line.split()[-1] for line in clients(Podman).run(
        "search", INSECURE, "--list-tags", name).splitlines()[1:]],
    "oras": lambda _, name: tags_by_oras(name),
}  # fmt: skip


def tags_by_oras(name: str) -> Any:
    oras = Oras(name.partition("/")[0])
    found = oras.sdk.get_tags(name)
    oras.close()
    return found


@pytest.mark.parametrize("client", LISTING)
def test_tags_are_listed(clients: Clients, registry: str, client: str) -> None:
    assert LISTING[client](clients, f"{registry}/{REPOSITORY}") == ["v1", "v2"]


def test_an_image_is_copied_from_an_agent_into_another_repository(
    clients: Clients, proxy: str, agent: str, expected: dict[str, str], tmp_path: Path
) -> None:
    run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
        f"docker://{agent}/{NAME}", f"docker://{proxy}/operations/copied:v1")  # fmt: skip
    clients(Skopeo).pull(agent, "operations/copied:v1", tmp_path / "copied")
    assert contents(tmp_path / "copied") == expected


def test_an_image_that_umoci_changed_is_pushed_and_unpacked(
    clients: Clients, proxy: str, agent: str, image: Image, expected: dict[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    umoci = clients(Umoci)
    layout = tmp_path / "layout"
    run("skopeo", "--insecure-policy", "copy", f"oci:{image.folder}:v1", f"oci:{layout}:v1")
    run("umoci", "insert", "--rootless", "--image", f"{layout}:v1",
        image.folder / "oci-layout", "/layout")  # fmt: skip
    umoci.push(layout, "v1", f"{proxy}/operations/umoci:v1")
    umoci.pull(agent, "operations/umoci:v1", tmp_path / "unpacked")
    found = contents(tmp_path / "unpacked")
    assert found.pop("layout") == Digest.of((image.folder / "oci-layout").read_bytes()).hex
    assert found == expected


def skopeo_pushes(clients: Clients, layout: Path, target: str) -> None:
    clients(Skopeo)
    run("skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false",
        f"oci:{layout}:v1", f"docker://{target}")  # fmt: skip


def podman_pushes(clients: Clients, layout: Path, target: str) -> None:
    push_list(clients(Podman), layout, target)


def buildah_pushes(clients: Clients, layout: Path, target: str) -> None:
    push_list(clients(Buildah), layout, target)


def push_list(client: Podman, layout: Path, target: str) -> None:
    client.run("manifest", "create", "--all", "both", f"oci:{layout}:v1")
    client.run("manifest", "push", "--all", INSECURE, "both", f"docker://{target}")
    client.run("manifest", "rm", "both")


PUSHING = {"skopeo": skopeo_pushes, "podman": podman_pushes, "buildah": buildah_pushes}


@pytest.mark.parametrize("client", PUSHING)
def test_an_index_keeps_both_its_platforms(
    clients: Clients, proxy: str, agent: str, tmp_path: Path, client: str
) -> None:
    clients(Umoci)
    digest = build_index(tmp_path / "layout", "v1")
    name = f"operations/{client}-index:v1"
    PUSHING[client](clients, tmp_path / "layout", f"{proxy}/{name}")
    raw = run("skopeo", "inspect", "--raw", INSECURE, f"docker://{agent}/{name}")
    index = json.loads(raw)
    assert [one["platform"]["architecture"] for one in index["manifests"]] == [*ARCHITECTURES]
    shown = clients(Docker).run("manifest", "inspect", "--insecure", f"{agent}/{name}")
    assert [one["digest"] for one in json.loads(shown)["manifests"]] == [
        one["digest"] for one in index["manifests"]
    ]
    seen = registry_data(clients, f"{agent}/{name}").attrs["Platforms"]
    assert [one["architecture"] for one in seen] == [*ARCHITECTURES]
    if client == "skopeo":
        assert str(Digest.of(raw.encode())) == digest
    for architecture in ARCHITECTURES:
        image = f"docker://{agent}/{name}"
        run("skopeo", "--insecure-policy", "--override-arch", architecture, "copy",
            "--src-tls-verify=false", image, f"oci:{tmp_path}/{architecture}:v1")  # fmt: skip
        run("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/{architecture}:v1",
            tmp_path / f"{architecture}-files")  # fmt: skip
        arch = tmp_path / f"{architecture}-files" / "rootfs" / "etc" / "arch"
        assert arch.read_text() == f"v1 {architecture}\n"


def test_containerd_fetches_every_platform(
    clients: Clients, proxy: str, agent: str, tmp_path: Path
) -> None:
    build_index(tmp_path / "layout", "every")
    run("skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false",
        f"oci:{tmp_path}/layout:every", f"docker://{proxy}/operations/every:v1")  # fmt: skip
    containerd = clients(Containerd)
    name = f"{agent}/operations/every:v1"
    containerd.run("content", "fetch", "--plain-http", "--all-platforms", name)
    listed = containerd.run("content", "ls", "--quiet").split()
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    assert {f"sha256:{path.name}" for path in blobs.iterdir()} <= set(listed)
