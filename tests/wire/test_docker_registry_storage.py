"""What docker-registry has stored is served as it is, and it serves what octopull has stored."""

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oci_image import Layer, build
from octopull.cli.cluster import Cluster, Ports, running
from octopull.config.backends import BackendSettings
from octopull.http.client import Http
from octopull.oci.manifests import MediaType
from support.multi_arch import build_index
from support.servers.docker_registry import docker_registry
from support.servers.moto import moto
from support.write_back import written

REPOSITORY = "team/app"
ACCEPT = {"Accept": ", ".join(MediaType)}


@dataclass(frozen=True)
class Storage:
    """One place, as docker-registry and as octopull are told of it."""

    driver: Mapping[str, Any]
    backend: BackendSettings


async def in_folder(stack: AsyncExitStack, folder: Path) -> Storage:
    del stack
    root = folder / "store"
    root.mkdir()
    driver = {"filesystem": {"rootdirectory": str(root)}}
    return Storage(driver, BackendSettings(url=root.as_uri(), name="store"))


async def in_bucket(stack: AsyncExitStack, folder: Path) -> Storage:
    del folder
    bucket = await stack.enter_async_context(moto())
    driver = {
        "s3": {
            "accesskey": bucket.secrets["AWS_ACCESS_KEY_ID"],
            "secretkey": bucket.secrets["AWS_SECRET_ACCESS_KEY"],
            "regionendpoint": bucket.options["endpoint"], "region": "us-east-1",
            "bucket": bucket.name, "rootdirectory": "/some/root", "secure": False,
        },
        # Else docker-registry sends its clients to the bucket.
        "redirect": {"disable": True},
    }  # fmt: skip
    return Storage(driver, bucket.settings("some/root"))


@pytest.fixture(params=[in_folder, in_bucket], ids=lambda maker: maker.__name__)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        yield await request.param(stack, tmp_path)


@pytest.fixture
def layouts(tmp_path: Path) -> dict[str, Path]:
    """By tag: an image of three layers, and an index of images for two architectures."""
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    made = tmp_path / "made"
    made.mkdir()
    layers: list[Layer] = []
    for number, size in enumerate((2_000_000, 70_000, 900)):
        source = made / f"file-{number}"
        source.write_bytes(random.Random(number).randbytes(size))
        layers.append(Layer(source, f"file-{number}", compressed=number == 1))
    (made / "index").mkdir()
    build_index(made / "index", "v2")
    return {"v1": build(made / "image", "v1", layers).folder, "v2": made / "index"}


def blobs(layout: Path) -> dict[str, bytes]:
    """Content by digest."""
    return {f"sha256:{one.name}": one.read_bytes() for one in (layout / "blobs/sha256").iterdir()}


def top(layout: Path) -> str:
    """The digest of what the layout's tag stands for."""
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return str(entry["digest"])


async def skopeo_copy(source: str, destination: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests",
        "--src-tls-verify=false", "--dest-tls-verify=false", source, destination,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def push(address: str, layouts: Mapping[str, Path]) -> None:
    for tag, layout in layouts.items():
        await skopeo_copy(f"oci:{layout}:{tag}", f"docker://{address}/{REPOSITORY}:{tag}")


@asynccontextmanager
async def cluster_over(folder: Path, storage: Storage) -> AsyncIterator[Cluster]:
    async with running(folder, 1, Ports(0, "127.0.0.1"), backend=storage.backend) as one:
        yield one


async def pull(http: Http, address: str, layout: Path, reference: str) -> None:
    """Everything, by ``reference``, and from there by digest."""
    wanted, base = blobs(layout), f"http://{address}/v2/{REPOSITORY}"
    reply = await http.call("GET", f"{base}/manifests/{reference}", headers=ACCEPT, timeout_s=60)
    assert reply.headers["Docker-Content-Digest"] == top(layout)
    left, seen = [top(layout)], set[str]()
    while left:
        digest = left.pop()
        document = wanted[digest]
        url = f"{base}/manifests/{digest}"
        assert (await http.call("GET", url, headers=ACCEPT, timeout_s=60)).body == document
        told = json.loads(document)
        left += [one["digest"] for one in told.get("manifests", [])]
        for one in [*told.get("layers", []), *([told["config"]] if "config" in told else [])]:
            url = f"{base}/blobs/{one['digest']}"
            assert (await http.call("GET", url, timeout_s=60)).body == wanted[one["digest"]]
            seen.add(one["digest"])
        seen.add(digest)
    assert seen == set(wanted)


async def test_what_docker_registry_stored_is_pulled_by_tag_and_by_digest(
    http: Http, tmp_path: Path, storage: Storage, layouts: dict[str, Path]
) -> None:
    async with docker_registry(tmp_path, storage.driver) as address:
        await push(address, layouts)
    async with cluster_over(tmp_path / "cluster", storage) as cluster:
        for tag, layout in layouts.items():
            await pull(http, cluster.agents[0].address, layout, tag)
        url = f"http://{cluster.proxy.address}/v2/{REPOSITORY}/tags/list"
        assert (await http.json("GET", url, dict))["tags"] == ["v1", "v2"]
    async with cluster_over(tmp_path / "other", storage) as cluster:
        for layout in layouts.values():
            await pull(http, cluster.agents[0].address, layout, top(layout))


async def test_docker_registry_serves_what_octopull_stored(
    http: Http, tmp_path: Path, storage: Storage, layouts: dict[str, Path]
) -> None:
    async with cluster_over(tmp_path / "cluster", storage) as cluster:
        await push(cluster.proxy.address, layouts)
        await written(http, cluster.origin.address, cluster.tag_index.address)
    async with docker_registry(tmp_path, storage.driver) as address:
        for tag, layout in layouts.items():
            for number, reference in enumerate((f":{tag}", f"@{top(layout)}")):
                copy = tmp_path / f"copy-{tag}-{number}"
                source = f"docker://{address}/{REPOSITORY}{reference}"
                await skopeo_copy(source, f"oci:{copy}:{tag}")
                assert blobs(copy) == blobs(layout)
        told = await http.json("GET", f"http://{address}/v2/{REPOSITORY}/tags/list", dict)
        assert sorted(told["tags"]) == ["v1", "v2"]


async def test_both_write_to_one_place_and_see_what_the_other_wrote(
    http: Http, tmp_path: Path, storage: Storage, layouts: dict[str, Path]
) -> None:
    async with (
        docker_registry(tmp_path, storage.driver) as address,
        cluster_over(tmp_path / "cluster", storage) as cluster,
    ):
        await push(cluster.proxy.address, {"v1": layouts["v1"]})
        await written(http, cluster.origin.address, cluster.tag_index.address)
        await pull(http, address, layouts["v1"], "v1")
        await push(address, {"v2": layouts["v2"]})
        await pull(http, cluster.agents[0].address, layouts["v2"], "v2")


async def test_a_cluster_without_disks_of_its_own_goes_on_from_another_registry(
    http: Http, tmp_path: Path, layouts: dict[str, Path]
) -> None:
    async with docker_registry(tmp_path) as address:
        other = Storage({}, BackendSettings(url=f"registry+http://{address}/mirror", name="other"))
        async with cluster_over(tmp_path / "cluster", other) as cluster:
            await push(cluster.proxy.address, layouts)
            await written(http, cluster.origin.address, cluster.tag_index.address)
        for tag, layout in layouts.items():
            copy = tmp_path / f"copy-{tag}"
            await skopeo_copy(f"docker://{address}/mirror/{REPOSITORY}:{tag}", f"oci:{copy}:{tag}")
            assert blobs(copy) == blobs(layout)
        async with cluster_over(tmp_path / "later", other) as cluster:
            for tag, layout in layouts.items():
                await pull(http, cluster.agents[0].address, layout, tag)
