"""Deletes: at once at the proxy, at agents after their next look, and undone by a push."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.config.services import AgentConfig
from octopull.kernel.digest import Digest
from octopull.services.agent.app import run as run_agent
from support.cluster import content
from support.registry import Registry, manifest
from support.services import started
from support.waiting import until

LOOK_S = 0.02
WAIT_S = 20.0


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as one:
        yield one


@asynccontextmanager
async def watchful(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Registry]:
    """An agent that looks for deletions all the time."""
    config = AgentConfig(
        data=str(tmp_path / "watchful"),
        trackers=[cluster.tracker.address],
        tag_indexes=[cluster.tag_index.address],
        deletions_s=LOOK_S,
    )
    async with started(run_agent, config) as one, aiohttp.ClientSession() as session:
        yield Registry(session, one.address)


@pytest.fixture
async def agent(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Registry]:
    async with watchful(cluster, tmp_path) as one:
        yield one


async def push_image(proxy: Registry, repository: str, layer: bytes) -> Digest:
    await proxy.push_blob(b"{}", repository)
    await proxy.push_blob(layer, repository)
    stored = manifest(b"{}", layer)
    assert (await proxy("PUT", f"/v2/{repository}/manifests/v1", stored)).status == 201
    return Digest.of(stored)


async def test_a_deleted_manifest_is_gone_at_once_and_only_in_its_repository(
    proxy: Registry,
) -> None:
    layer = content(1000, 1)
    digest = await push_image(proxy, "a", layer)
    assert await push_image(proxy, "b", layer) == digest
    assert (await proxy("DELETE", f"/v2/a/manifests/{digest}")).status == 202
    for reference in ("v1", digest):
        gone = await proxy("GET", f"/v2/a/manifests/{reference}")
        assert (gone.status, gone.code) == (404, "MANIFEST_UNKNOWN")
        assert (await proxy("GET", f"/v2/b/manifests/{reference}")).status == 200
    assert (await proxy("DELETE", f"/v2/a/manifests/{digest}")).status == 404
    assert await push_image(proxy, "a", layer) == digest
    assert (await proxy("GET", f"/v2/a/manifests/{digest}")).status == 200


async def test_a_deleted_tag_leaves_the_manifest(proxy: Registry) -> None:
    digest = await push_image(proxy, "a", content(1000, 1))
    assert (await proxy("DELETE", "/v2/a/manifests/v1")).status == 202
    assert (await proxy("GET", "/v2/a/manifests/v1")).status == 404
    assert (await proxy("GET", f"/v2/a/manifests/{digest}")).status == 200
    assert (await proxy("DELETE", "/v2/a/manifests/v1")).status == 404


async def test_a_deleted_blob_is_gone_until_it_is_pushed_or_mounted_again(proxy: Registry) -> None:
    digest = await proxy.push_blob(b"blob", "a")
    where = f"/v2/a/blobs/{digest}"
    again = (f"/v2/a/blobs/uploads/?digest={digest}", f"/v2/a/blobs/uploads/?mount={digest}&from=b")
    for push in again:
        assert (await proxy("DELETE", where)).status == 202
        for method in ("GET", "HEAD", "DELETE"):
            assert (await proxy(method, where)).status == 404
        assert (await proxy("GET", f"/v2/b/blobs/{digest}")).status == 200
        assert (await proxy("POST", push, b"blob")).status == 201
        assert (await proxy("GET", where)).body == b"blob"


async def test_a_blob_deleted_from_a_repository_is_not_mounted_from_it(proxy: Registry) -> None:
    digest = await proxy.push_blob(b"blob", "a")
    await proxy("DELETE", f"/v2/a/blobs/{digest}")
    mount = f"/v2/b/blobs/uploads/?mount={digest}&from=a"
    assert (await proxy("POST", mount)).status == 202


async def test_a_manifest_that_refers_to_a_deleted_blob_brings_it_back(proxy: Registry) -> None:
    layer = content(1000, 1)
    await push_image(proxy, "a", layer)
    where = f"/v2/a/blobs/{Digest.of(layer)}"
    assert (await proxy("DELETE", where)).status == 202
    assert (await proxy("PUT", "/v2/a/manifests/v2", manifest(b"{}", layer))).status == 201
    assert (await proxy("GET", where)).body == layer


async def test_an_agent_drops_what_was_deleted_and_serves_what_was_pushed_again(
    proxy: Registry, agent: Registry, tmp_path: Path
) -> None:
    layer = content(3_000_000, 1)
    digest = await push_image(proxy, "a", layer)
    await push_image(proxy, "b", layer)
    manifest_path, blob_path = f"/v2/a/manifests/{digest}", f"/v2/a/blobs/{Digest.of(layer)}"
    assert (await agent("GET", manifest_path)).status == 200
    assert (await agent("GET", blob_path)).body == layer
    cached = tmp_path / "watchful" / "blobs" / "sha256"

    async def is_cached() -> bool:
        return bool(list(cached.rglob(Digest.of(layer).hex)))

    async def is_dropped() -> bool:
        paths = (manifest_path, blob_path, f"/namespace/a/blobs/{Digest.of(layer)}")
        gone = [(await agent("GET", path)).status == 404 for path in paths]
        return all(gone) and not await is_cached()

    await until(is_cached, WAIT_S)
    for path in (manifest_path, blob_path):
        assert (await proxy("DELETE", path)).status == 202
    await until(is_dropped, WAIT_S)
    assert (await agent("GET", f"/v2/b/blobs/{Digest.of(layer)}")).body == layer
    await push_image(proxy, "a", layer)
    assert (await agent("GET", manifest_path)).status == 200
    assert (await agent("GET", blob_path)).body == layer


async def test_a_restarted_agent_drops_what_was_deleted_meanwhile_and_nothing_else(
    proxy: Registry, cluster: Cluster, tmp_path: Path
) -> None:
    cached = tmp_path / "watchful" / "blobs" / "sha256"
    early, late = content(300_000, 1), content(300_000, 2)
    for layer in (early, late):
        await proxy.push_blob(layer, "a")
        await proxy.push_blob(layer, "b")

    def has(layer: bytes) -> bool:
        return bool(list(cached.rglob(Digest.of(layer).hex)))

    async def both() -> bool:
        return has(early) and has(late)

    async def only_the_early() -> bool:
        return has(early) and not has(late)

    async def early_dropped() -> bool:
        return not has(early)

    async with watchful(cluster, tmp_path) as agent:
        for layer in (early, late):
            await agent("GET", f"/v2/b/blobs/{Digest.of(layer)}")
        await until(both, WAIT_S)
        assert (await proxy("DELETE", f"/v2/a/blobs/{Digest.of(early)}")).status == 202
        await until(early_dropped, WAIT_S)
        assert (await agent("GET", f"/v2/b/blobs/{Digest.of(early)}")).body == early
        await until(both, WAIT_S)
    assert (await proxy("DELETE", f"/v2/a/blobs/{Digest.of(late)}")).status == 202
    async with watchful(cluster, tmp_path) as agent:
        await until(only_the_early, WAIT_S)
        assert (await agent("GET", f"/v2/a/blobs/{Digest.of(early)}")).status == 404
