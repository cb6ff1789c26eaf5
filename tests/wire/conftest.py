"""What tests of a running ``cluster`` share; each file says which cluster that is."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from support.access import SECRET, People, push
from support.registry import Registry
from support.servers.docker_registry import docker_registry


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """For requests whose answers are seen as they were sent."""
    async with aiohttp.ClientSession(auto_decompress=False) as one:
        yield one


@pytest.fixture
def people(session: aiohttp.ClientSession, cluster: Cluster) -> People:
    """Those whom a cluster knows that has access set by ``support.access.files``."""
    return People(session, cluster)


@pytest.fixture
async def pushed(people: People) -> bytes:
    """The manifest of the team's image, which holds ``SECRET``."""
    return await push(people("alice"), "team/app", SECRET)


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[Registry]:
    """The cluster's proxy."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Registry(session, cluster.proxy.address)


@pytest.fixture(params=["docker-registry", "octopull"])
async def address(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Another registry, of either kind, that a cluster writes to."""
    if request.param == "docker-registry":
        async with docker_registry(tmp_path) as one:
            yield one
    else:
        async with running(tmp_path / "other", 0, Ports(0, "127.0.0.1")) as cluster:
            yield cluster.proxy.address
