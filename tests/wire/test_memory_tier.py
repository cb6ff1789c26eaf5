"""Small blobs out of memory, at agents and origins: until they are deleted, and never a wrong byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.collection import collect
from octopull.config.services import AgentConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.services.agent.app import run as run_agent
from octopull.storage.hot import HotStore
from support.cluster import content
from support.registry import Registry, manifest
from support.services import started
from support.waiting import until

CONFIG, LAYER = b"{}", content(30_000, 1)
MANIFEST = manifest(CONFIG, LAYER)
DIGEST = Digest.of(MANIFEST)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as one:
        yield one


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[Registry]:
    """The cluster's proxy, with an image pushed."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        registry = Registry(session, cluster.proxy.address)
        for blob in (CONFIG, LAYER):
            await registry.push_blob(blob, "a")
        assert (await registry.push_manifest("a", "v1", MANIFEST)).status == 201
        yield registry


def file(folder: Path, service: str, digest: Digest) -> Path:
    return folder / service / "blobs" / "sha256" / digest.hex[:2] / digest.hex


async def cached(path: Path) -> None:
    """Until the agent has written it behind."""

    async def there() -> bool:
        return await asyncio.to_thread(path.exists)

    await until(there, within_s=10)


async def test_what_was_asked_for_needs_the_disk_no_more(
    http: Http, cluster: Cluster, proxy: Registry, tmp_path: Path
) -> None:
    manifest_url = f"{cluster.agents[0].url}/v2/a/manifests/v1"
    layer = f"{cluster.agents[0].url}/v2/a/blobs/{Digest.of(LAYER)}"
    for url, blob in ((manifest_url, MANIFEST), (layer, LAYER)):
        assert (await http.call("GET", url)).body == blob
        path = file(tmp_path, "agent-1", Digest.of(blob))
        await cached(path)
        assert (await http.call("GET", url)).body == blob
        path.rename(path.with_suffix(".away"))
        assert (await http.call("GET", url)).body == blob
        path.with_suffix(".away").rename(path)
    part = await http.call("GET", layer, headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, LAYER[100:200])
    head = await http.call("HEAD", layer)
    assert head.headers["Content-Length"] == str(len(LAYER))
    assert proxy.address == cluster.proxy.address


async def test_an_origin_serves_from_memory_but_says_of_a_blob_it_lost_that_it_lacks_it(
    http: Http, cluster: Cluster, proxy: Registry, tmp_path: Path
) -> None:
    url = f"{cluster.origin.url}/namespace/a/blobs/{DIGEST}"
    assert (await http.call("GET", url)).body == MANIFEST
    file(tmp_path, "origin", DIGEST).unlink()
    assert (await http.call("GET", url)).body == MANIFEST
    with pytest.raises(NotFound):
        await http.call("HEAD", url)
    # So a client pushes it again.
    assert (await proxy.push_manifest("a", "v1", MANIFEST)).status == 201
    assert file(tmp_path, "origin", DIGEST).read_bytes() == MANIFEST


async def test_what_was_dropped_from_an_agent_is_not_served_from_memory(
    http: Http, tmp_path: Path
) -> None:
    HotStore(tmp_path, 0, 0).put(DIGEST, MANIFEST)
    nobody = "127.0.0.1:1"
    config = AgentConfig(data=str(tmp_path), trackers=[nobody], tag_indexes=[nobody],
                         metainfo_wait_s=0.1)  # fmt: skip
    async with started(run_agent, config) as agent:
        url = f"{agent.url}/namespace/a/blobs/{DIGEST}"
        for _ in range(2):
            assert (await http.call("GET", url)).body == MANIFEST
        await http.call("DELETE", f"{agent.url}/blobs/{DIGEST}")
        with pytest.raises(Unavailable):
            await http.call("GET", url)


@pytest.mark.usefixtures("proxy")
async def test_what_was_collected_is_not_served_from_an_origins_memory(
    http: Http, cluster: Cluster
) -> None:
    url = f"{cluster.origin.url}/namespace/a/blobs/{DIGEST}"
    assert (await http.call("GET", url)).body == MANIFEST
    await http.call("DELETE", f"{cluster.proxy.url}/v2/a/manifests/{DIGEST}")
    async for _ in collect(http, cluster.tag_index.address, grace_s=0, dry_run=False):
        pass
    with pytest.raises(NotFound):
        await http.call("GET", url)


@pytest.mark.usefixtures("proxy")
async def test_a_copy_that_the_disk_of_an_agent_has_damaged_is_fetched_anew(
    http: Http, cluster: Cluster, tmp_path: Path
) -> None:
    config = AgentConfig(
        data=str(tmp_path / "mine"), trackers=[cluster.tracker.address],
        tag_indexes=[cluster.tag_index.address],
    )  # fmt: skip
    path = file(tmp_path, "mine", DIGEST)
    for _ in range(2):
        async with started(run_agent, config) as agent:
            assert (await http.call("GET", f"{agent.url}/v2/a/blobs/{DIGEST}")).body == MANIFEST
            await cached(path)
            assert path.read_bytes() == MANIFEST
        path.write_bytes(MANIFEST[:-1] + b"!")


async def test_a_large_copy_that_the_disk_of_an_agent_has_damaged_is_fetched_anew(
    http: Http, cluster: Cluster, proxy: Registry, tmp_path: Path
) -> None:
    blob = content(3_000_000, 5)
    digest = await proxy.push_blob(blob, "a")
    config = AgentConfig(
        data=str(tmp_path / "mine"), trackers=[cluster.tracker.address],
        tag_indexes=[cluster.tag_index.address],
    )  # fmt: skip
    path = file(tmp_path, "mine", digest)
    async with started(run_agent, config) as agent:
        url = f"{agent.url}/namespace/a/blobs/{digest}"
        for offset in (0, 2_999_999):
            assert (await http.call("GET", url)).body == blob
            await cached(path)
            with path.open("r+b") as file_:
                file_.seek(offset)
                file_.write(bytes([blob[offset] ^ 1]))
            # What has left cannot be called back: a body that turns out wrong is cut short.
            with suppress(Unavailable):
                assert (await http.call("GET", url)).body == blob
            await until_gone(path, blob)


async def until_gone(path: Path, blob: bytes) -> None:
    """Until nothing else than ``blob`` is there."""

    def holds() -> bool:
        return not path.exists() or path.read_bytes() == blob

    async def gone() -> bool:
        return await asyncio.to_thread(holds)

    await until(gone, 10)


@pytest.mark.usefixtures("proxy")
async def test_an_origin_does_not_serve_a_small_blob_that_its_disk_has_damaged(
    http: Http, cluster: Cluster, tmp_path: Path
) -> None:
    digest = Digest.of(CONFIG)
    file(tmp_path, "origin", digest).write_bytes(b"[]")
    with pytest.raises(NotFound):
        await http.call("GET", f"{cluster.origin.url}/namespace/a/blobs/{digest}")
    question = b'{"digests": ["%s", "%s"]}' % (str(digest).encode(), str(DIGEST).encode())
    told = await http.call("POST", f"{cluster.origin.url}/namespace/a/starts", data=question)
    assert MANIFEST in told.body
    assert digest.pack() not in told.body
