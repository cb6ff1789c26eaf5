"""Stock clients against real processes: every pusher's image through every puller, byte for byte."""

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from oci_image import Image, Layer, build
from registry_clients import (
    CLIENTS,
    Containerd,
    Docker,
    Kind,
    Podman,
    RegistryClient,
    Skopeo,
    contents,
    lacking,
    run,
    unpack,
)  # fmt: skip
from support.cluster import OCTOPULL, content, up

PUSHERS: tuple[Kind, ...] = (Skopeo, Docker, Podman)
PULLERS: tuple[Kind, ...] = (Containerd, Docker, Podman, Skopeo)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[dict[str, Any]]:
    with up(folder / "cluster", "--agents", "4") as document:
        yield document


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    (folder / "large.bin").write_bytes(content(12 << 20, 1))
    library = Path(sysconfig.get_paths()["stdlib"])
    layers = [
        Layer(library / "asyncio", "asyncio", compressed=True),
        Layer(library / "json", "json", compressed=True),
        Layer(folder / "large.bin", "data", compressed=True),
    ]
    return build(folder / "image", "v1", layers)


@pytest.fixture(scope="module")
def expected(folder: Path, image: Image) -> dict[str, str]:
    unpack(image.folder, folder / "expected")
    return contents(folder / "expected")


@pytest.fixture(scope="module")
def clients(folder: Path) -> Iterator[dict[str, RegistryClient]]:
    started: dict[str, RegistryClient] = {}
    with ExitStack() as stack:
        for kind in CLIENTS:
            if not lacking(kind):
                client: RegistryClient = kind(folder / kind.name)
                client.start()
                stack.callback(client.stop)
                started[kind.name] = client
        yield started


def client(clients: dict[str, RegistryClient], kind: Kind) -> RegistryClient:
    if kind.name not in clients:
        pytest.skip(f"{kind.name} cannot run here: needs {', '.join(lacking(kind))}")
    return clients[kind.name]


@pytest.fixture(scope="module")
def pushed(
    cluster: dict[str, Any], image: Image, clients: dict[str, RegistryClient]
) -> dict[str, str]:
    """Images by the client that pushed them; each is pushed once."""
    names: dict[str, str] = {}
    for kind in PUSHERS:
        if kind.name in clients:
            name = f"pushed-by/{kind.name}:v1"
            clients[kind.name].push(image.folder, "v1", f"{cluster['proxy']}/{name}")
            names[kind.name] = name
    return names


@pytest.mark.parametrize("puller", PULLERS, ids=lambda kind: f"{kind.name}-pulls")
@pytest.mark.parametrize("pusher", PUSHERS, ids=lambda kind: f"{kind.name}-pushes")
def test_an_image_comes_out_as_it_went_in(
    cluster: dict[str, Any], clients: dict[str, RegistryClient], pushed: dict[str, str],
    expected: dict[str, str], tmp_path: Path, pusher: Kind, puller: Kind,
) -> None:  # fmt: skip
    client(clients, pusher)
    agent = cluster["agents"][PULLERS.index(puller)]["http"]
    out = tmp_path / f"{pusher.name}-{puller.name}"
    client(clients, puller).pull(agent, pushed[pusher.name], out)
    assert contents(out) == expected


def test_octopulls_own_push_and_pull(
    cluster: dict[str, Any], image: Image, expected: dict[str, str], tmp_path: Path
) -> None:
    agent = f"http://{cluster['agents'][0]['http']}"
    told = run(OCTOPULL, "push", image.folder, "own/image:v1", "--to", f"http://{cluster['proxy']}")
    assert told.strip() == f"own/image:v1@{image.digest}"
    for _ in range(2):
        assert run(OCTOPULL, "pull", "own/image:v1", tmp_path / "out", "--from", agent) == told
    unpack(tmp_path / "out", tmp_path / "files")
    assert contents(tmp_path / "files") == expected


def test_status_tells_what_is_up_and_what_is_not(cluster: dict[str, Any], folder: Path) -> None:
    ready = folder / "cluster" / "ready.json"
    rows = json.loads(run(OCTOPULL, "status", "--cluster", ready, "--json"))
    assert [row["lacking"] for row in rows] == [""] * (4 + len(cluster["agents"]))
    assert "ready" in run(OCTOPULL, "status", "--cluster", ready)


def test_the_lines_that_up_prints_work_as_they_stand(
    image: Image, clients: dict[str, RegistryClient], folder: Path, tmp_path: Path
) -> None:
    client(clients, Skopeo)
    client(clients, Containerd)
    run("skopeo", "--insecure-policy", "copy", f"oci:{image.folder}:v1",
        f"docker-archive:{tmp_path}/image.tar:demo:v1")  # fmt: skip
    with up(folder / "printed", "--agents", "1"):
        printed = (folder / "printed" / "log").read_text().splitlines()
        lines = [line.strip() for line in printed if line.startswith("  ")]
        for start in (
            "skopeo copy --dest",
            "ctr images pull",
            "skopeo copy --src",
            "octopull pull",
        ):
            line = next(line for line in lines if line.startswith(start))
            environment = {
                "PATH": f"{OCTOPULL.parent}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "CONTAINERD_ADDRESS": str(folder / "containerd" / "containerd.sock"),
                "CONTAINERD_SNAPSHOTTER": "native",
            }
            done = subprocess.run(
                line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, (line, done.stderr)
