"""Stock clients against real processes: every pusher's image through every puller, byte for byte."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from oci_image import Image
from registry_clients import (
    Buildah,
    Containerd,
    Docker,
    Kind,
    Podman,
    Skopeo,
    contents,
    run,
    unpack,
)  # fmt: skip
from support.clients import Clients
from support.cluster import OCTOPULL, up
from support.sdk_clients import DockerSdk, Umoci

PUSHERS: tuple[Kind, ...] = (Skopeo, Docker, Podman, Containerd, Buildah, DockerSdk)
PULLERS: tuple[Kind, ...] = (Containerd, Docker, Podman, Skopeo, Buildah, DockerSdk, Umoci)


@pytest.fixture(scope="module")
def pushed() -> dict[str, str]:
    """Images by the client that pushed them; each is pushed once."""
    return {}


@pytest.mark.parametrize("puller", PULLERS, ids=lambda kind: f"{kind.name}-pulls")
@pytest.mark.parametrize("pusher", PUSHERS, ids=lambda kind: f"{kind.name}-pushes")
def test_an_image_comes_out_as_it_went_in(
    cluster: dict[str, Any], clients: Clients, pushed: dict[str, str], image: Image,
    expected: dict[str, str], tmp_path: Path, pusher: Kind, puller: Kind,
) -> None:  # fmt: skip
    name = f"pushed-by/{pusher.name}:v1"
    if pusher.name not in pushed:
        clients(pusher).push(image.folder, "v1", f"{cluster['proxy']}/{name}")
        pushed[pusher.name] = name
    agents = cluster["agents"]
    agent = agents[PULLERS.index(puller) % len(agents)]["http"]
    out = tmp_path / f"{pusher.name}-{puller.name}"
    clients(puller).pull(agent, name, out)
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
    image: Image, clients: Clients, folder: Path, tmp_path: Path
) -> None:
    clients(Skopeo)
    clients(Containerd)
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
                "CONTAINERD_ADDRESS": str(folder / "sandboxes" / "containerd" / "containerd.sock"),
                "CONTAINERD_SNAPSHOTTER": "native",
            }
            done = subprocess.run(
                line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, (line, done.stderr)
