"""Backends get what manifests refer to, however it came to be in the cluster."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.backends.layouts import blob_key
from octopull.cli.cluster import Ports, running
from octopull.config.backends import BackendSettings, BlobLayout
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.oci.manifests import MediaType
from support.registry import Registry, manifest
from support.servers.docker_registry import docker_registry
from support.write_back import written

PORTS = Ports(0, "127.0.0.1")
CONFIG, LAYER = b"{}", b"layer"
IMAGE = manifest(CONFIG, LAYER)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


async def push(registry: Registry, repository: str) -> None:
    for blob in (CONFIG, LAYER):
        await registry.push_blob(blob, repository)
    assert (await registry.push_manifest(repository, "v1", IMAGE)).status == 201


async def test_what_was_mounted_is_in_both_repositories_of_the_backend(
    http: Http, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with docker_registry(tmp_path) as address:
        backend = BackendSettings(url=f"registry+http://{address}/mirror", name="other")
        async with running(tmp_path / "cluster", 0, PORTS, backend=backend) as cluster:
            proxy = Registry(session, cluster.proxy.address)
            await push(proxy, "a/x")
            for blob in (CONFIG, LAYER):
                path = f"/v2/b/y/blobs/uploads/?mount={Digest.of(blob)}&from=a/x"
                assert (await proxy("POST", path)).status == 201
            assert (await proxy.push_manifest("b/y", "v1", IMAGE)).status == 201
            await written(http, cluster.origin.address, cluster.tag_index.address)
        other, accept = Registry(session, address), MediaType.OCI_MANIFEST
        for repository in ("mirror/a/x", "mirror/b/y"):
            found = await other("GET", f"/v2/{repository}/manifests/v1", Accept=accept)
            assert found.body == IMAGE
            layer = await other("GET", f"/v2/{repository}/blobs/{Digest.of(LAYER)}")
            assert layer.body == LAYER


async def test_what_was_there_before_the_backend_goes_there_with_the_next_push(
    http: Http, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    async with running(tmp_path / "cluster", 0, PORTS) as cluster:
        await push(Registry(session, cluster.proxy.address), "a/x")
    backend = BackendSettings(url=store.as_uri(), name="store")
    async with running(tmp_path / "cluster", 0, PORTS, backend=backend) as cluster:
        proxy = Registry(session, cluster.proxy.address)
        assert (await proxy.push_manifest("a/x", "v2", IMAGE)).status == 201
        await written(http, cluster.origin.address, cluster.tag_index.address)
    for blob in (CONFIG, LAYER, IMAGE):
        path = store / blob_key(BlobLayout.SHARDED_DOCKER_BLOB, Digest.of(blob))
        assert path.read_bytes() == blob
