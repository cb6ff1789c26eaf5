"""What somebody sees who listens on the wire while an image is pushed and pulled: as root."""

import os
from pathlib import Path

import pytest

from oci_image import Layer, build
from registry_clients import run
from support.capture import Seen, capturing, listening
from support.cluster import OCTOPULL, content, up

EVERY_BYTES = 512
"""How often the mark stands in the layer: in each packet that carries some of it."""

HOST = "127.0.77.1"
"""Of this machine's loopback, where nobody else is."""

LAYER_BYTES = 3 << 20


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """An image, and what of it would be recognised."""
    folder = tmp_path_factory.mktemp("image")
    mark = os.urandom(32)
    part = content(EVERY_BYTES - len(mark), 1) + mark
    (folder / "marked.bin").write_bytes(part * (LAYER_BYTES // EVERY_BYTES))
    image = build(folder / "image", "v1", [Layer(folder / "marked.bin", "data", compressed=False)])
    return image.folder, {
        "blob": mark,
        "manifest": b'"schemaVersion"',
        "digest": str(image.digest).partition(":")[2].encode(),
        "request": b"HTTP/1.1",
    }


def seen(folder: Path, layout: tuple[Path, dict[str, bytes]], *words: str) -> tuple[Seen, set[int]]:
    """What crossed the wire of a cluster, and its ports: a push, and pulls through two agents."""
    image, marks = layout
    with (
        up(folder / "cluster", "--agents", "2", "--host", HOST, *words) as cluster,
        capturing(HOST, marks) as found,
    ):
        scheme = "https" if "tls" in cluster else "http"
        operator = ("--tls", cluster["tls"]) if "tls" in cluster else ()
        run(OCTOPULL, *operator, "push", image, "secret/image:v1", "--to",
            f"{scheme}://{cluster['proxy']}")  # fmt: skip
        for number, agent in enumerate(cluster["agents"]):
            run(OCTOPULL, *operator, "pull", "secret/image:v1", folder / str(number), "--from",
                f"{scheme}://{agent['http']}")  # fmt: skip
        ports = listening(cluster["pid"])
        assert {_port(cluster["proxy"]), _port(cluster["agents"][0]["peer"])} <= ports
    return found, ports


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may listen on the wire")


@needs_root
def test_a_cluster_with_tls_shows_nothing_of_an_image_on_any_port(
    layout: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    found, ports = seen(tmp_path, layout, "--tls")
    assert {name: where & ports for name, where in found.found.items()} == {
        "blob": set(), "manifest": set(), "digest": set(), "request": set(),
    }  # fmt: skip
    # Push, copy to the origin, two pulls from peers, and two by clients.
    assert found.bytes > 4 * LAYER_BYTES


@needs_root
def test_in_clear_all_of_it_is_there_to_be_seen(
    layout: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    found, ports = seen(tmp_path, layout)
    assert all(where & ports for where in found.found.values())
