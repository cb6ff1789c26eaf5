"""Stock clients pull what only an upstream has, from docker-registry through agent and proxy."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci_image import Image
from registry_clients import Buildah, Containerd, Docker, Kind, Podman, Skopeo, contents
from support.clients import Clients
from support.cluster import up
from support.ports import free_port

UPSTREAM = "registry.example"
NAME = "team/app:v1"


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """docker-registry, and its address."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry cannot run here: needs docker-registry")
    address = f"127.0.0.1:{free_port()}"
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nhttp: {{addr: '{address}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{folder}/registry'}}}}\n"
    )
    words = ["docker-registry", "serve", str(config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert any(b"listening on" in line for line in process.stderr)
        yield process, address
        process.terminate()


@pytest.fixture(scope="module")
def cluster(
    folder: Path, registry: tuple[subprocess.Popen[bytes], str], clients: Clients, image: Image
) -> Iterator[dict[str, Any]]:
    """A cluster that has nothing, and the image at its upstream."""
    _, address = registry
    clients(Skopeo).push(image.folder, "v1", f"{address}/{NAME}")
    words = ("--agents", "2", "--upstream", f"{UPSTREAM}=http://{address}")
    with up(folder / "cluster", *words) as document:
        yield document


# The upstream goes away behind the first of them.
@pytest.mark.parametrize("kind", [Containerd, Skopeo, Podman, Buildah, Docker])
def test_an_upstreams_image_is_pulled_as_it_is_and_outlives_it(
    cluster: dict[str, Any], clients: Clients, registry: tuple[subprocess.Popen[bytes], str],
    expected: dict[str, str], tmp_path: Path, kind: Kind,
) -> None:  # fmt: skip
    # containerd says by ns= whose image it is, the others by the name.
    name = NAME if kind is Containerd else f"{UPSTREAM}/{NAME}"
    for number, agent in enumerate(cluster["agents"]):
        clients(kind).pull(agent["http"], name, tmp_path / f"agent-{number}")
        assert contents(tmp_path / f"agent-{number}") == expected
    process, _ = registry
    if process.poll() is None:
        process.terminate()
        process.wait()
    clients(kind).pull(cluster["proxy"], name, tmp_path / "proxy")
    assert contents(tmp_path / "proxy") == expected
