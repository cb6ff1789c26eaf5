"""Stock clients that know nothing but docker.io, and pull through an agent all the same."""

import os
import signal
import sysconfig
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci_image import Image, Layer, build
from registry_clients import (
    ClientFailed,
    Containerd,
    Docker,
    Kind,
    Podman,
    contents,
    extract,
    lacking,
    run,
    unpack,
)  # fmt: skip
from support.cluster import OCTOPULL, up

# Of no image at Docker Hub: what comes can only have come through the agent.
NAME = "library/octopull-mirror-test"
OTHER = "registry.example/octopull/mirror-test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mirror")


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    library = Path(sysconfig.get_paths()["stdlib"])
    return build(folder / "image", "v1", [Layer(library / "json", "json", compressed=True)])


@pytest.fixture(scope="module")
def expected(folder: Path, image: Image) -> dict[str, str]:
    unpack(image.folder, folder / "expected")
    return contents(folder / "expected")


@pytest.fixture(scope="module")
def cluster(folder: Path, image: Image) -> Iterator[dict[str, Any]]:
    with up(folder / "cluster", "--agents", "1") as document:
        for name in (NAME, OTHER.partition("/")[2]):
            run(OCTOPULL, "push", image.folder, f"{name}:v1", "--to", f"http://{document['proxy']}")
        yield document


@pytest.fixture
def root(cluster: dict[str, Any], tmp_path: Path) -> Path:
    """What is ``/`` to the clients' settings, with the agent as the mirror of docker.io."""
    root = tmp_path / "root"
    root.mkdir()
    mirror(root, cluster)
    return root


def mirror(root: Path, cluster: dict[str, Any], *words: str) -> None:
    run(OCTOPULL, "agent", "install-mirror", "--root", root, "--agent",
        cluster["agents"][0]["http"], "--containerd", "--docker", "--podman",
        "--registry", "docker.io", "--own", "registry.example", *words)  # fmt: skip


def need(kind: Kind) -> None:
    if lacking(kind):
        pytest.skip(f"{kind.name} cannot run here: needs {', '.join(lacking(kind))}")


def test_podman_pulls_from_docker_io_through_the_agent(
    cluster: dict[str, Any], root: Path, expected: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    need(Podman)
    # Its own configuration folder is read as /etc/containers is.
    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    (home / ".config" / "containers").symlink_to(root / "etc" / "containers")
    monkeypatch.setenv("HOME", str(home))
    podman = Podman(tmp_path / "podman")
    podman.start()
    pull = ("pull", "--signature-policy", tmp_path / "podman" / "policy.json")
    image = ""
    try:
        for image in (f"docker.io/{NAME}:v1", f"{OTHER}:v1"):
            podman.run(*pull, image)
            mounted = podman.run("image", "mount", image).strip()
            assert contents(Path(mounted)) == expected
            podman.run("image", "umount", image)
        mirror(root, cluster, "--remove")
        podman.run("rmi", "--all", "--force")
        with pytest.raises(ClientFailed, match=r"registry\.example"):
            podman.run(*pull, image)
    finally:
        podman.stop()


def test_containerd_pulls_from_docker_io_through_the_agent(
    cluster: dict[str, Any], root: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    need(Containerd)
    containerd = Containerd(tmp_path / "containerd")
    containerd.start()
    try:
        ctr = ("ctr", "--address", containerd.socket, "images")
        pull = (*ctr, "pull", "--snapshotter", "native", "--hosts-dir")
        image = ""
        for number, image in enumerate((f"docker.io/{NAME}:v1", f"{OTHER}:v1")):
            run(*pull, root / "etc/containerd/certs.d", image)
            mount = tmp_path / f"mount-{number}"
            mount.mkdir()
            run(*ctr, "mount", "--snapshotter", "native", image, mount)
            try:
                assert contents(mount) == expected
            finally:
                run(*ctr, "unmount", "--rm", "--snapshotter", "native", mount)
            run(*ctr, "rm", "--sync", image)
        mirror(root, cluster, "--remove")
        with pytest.raises(ClientFailed, match=r"registry\.example"):
            run(*pull, root / "etc/containerd/certs.d", image)
    finally:
        containerd.stop()


def reload(docker: Docker, sandbox: Path, mirror: str) -> None:
    """What ``systemctl reload docker`` does, and until it is done."""
    os.kill(int((sandbox / "pid").read_text()), signal.SIGHUP)
    pause = threading.Event()
    for _ in range(200):
        if mirror in docker.run("info", "--format", "{{json .RegistryConfig.Mirrors}}"):
            return
        pause.wait(0.05)
    raise AssertionError((sandbox / "log").read_text()[-2000:])


def test_a_docker_that_runs_already_pulls_from_docker_io_through_the_agent(
    cluster: dict[str, Any], folder: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    need(Docker)
    daemon = tmp_path / "etc" / "docker" / "daemon.json"
    daemon.parent.mkdir(parents=True)
    daemon.write_text('{"max-concurrent-downloads": 4}')
    # A path to a socket has at most 107 characters: not below the test's own folder.
    sandbox = folder / "docker"
    docker = Docker(sandbox, "--config-file", daemon)
    docker.start()
    try:
        mirror(tmp_path, cluster)
        reload(docker, sandbox, f"http://{cluster['agents'][0]['http']}")
        image = f"{NAME.removeprefix('library/')}:v1"
        docker.run("pull", image)
        container = docker.run("create", image).strip()
        archive = tmp_path / "export.tar"
        docker.run("export", "-o", archive, container)
        with tarfile.open(archive) as tar:
            extract(tar, tmp_path / "out")
        assert contents(tmp_path / "out") == expected
        docker.run("rm", container)
        docker.run("rmi", image)
        mirror(tmp_path, cluster, "--remove")
        docker.stop()
        docker.start()
        with pytest.raises(ClientFailed, match=r"docker\.io"):
            docker.run("pull", image)
    finally:
        docker.stop()
