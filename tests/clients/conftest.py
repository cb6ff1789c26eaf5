"""A cluster of real processes, an image, and the clients, once for each file of tests."""

import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from oci_image import Image, Layer, build
from registry_clients import contents, unpack
from support.clients import Clients
from support.cluster import content, up


@contextmanager
def short() -> Iterator[Path]:
    """A folder of a short name: a socket's path has 104 characters, and daemons make deep ones.

    In small letters and numbers: podman takes a path for an image's name first.
    """
    folder = Path(tempfile.gettempdir()) / f"oc{os.urandom(6).hex()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short() as folder:
        yield folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with short() as folder:
        yield folder


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[dict[str, Any]]:
    with up(folder / "cluster", "--agents", "2") as document:
        yield document


@pytest.fixture(scope="module")
def proxy(cluster: dict[str, Any]) -> str:
    return str(cluster["proxy"])


@pytest.fixture(scope="module")
def agent(cluster: dict[str, Any]) -> str:
    return str(cluster["agents"][0]["http"])


@pytest.fixture(scope="module")
def clients(folder: Path) -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(folder / "sandboxes", stack)


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    """Three layers: two of many small files, one of 5 MiB that do not compress."""
    (folder / "large.bin").write_bytes(content(5 << 20, 1))
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
