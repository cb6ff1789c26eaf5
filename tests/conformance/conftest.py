"""One embedded cluster per file; each test has a repository of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from octopull.cli.cluster import Cluster, Ports, running
from octopull.config.services import AgentConfig, Listen, PeerSettings
from octopull.http.serving import Listening
from octopull.services.agent.app import run as run_agent
from support.registry import Registry

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running(tmp_path_factory.mktemp("cluster"), 0, Ports(0, "127.0.0.1")) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quick_agent(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Listening]:
    """An agent that looks at what was deleted every moment, so that no test waits long."""
    here = Listen(host="127.0.0.1", port=0)
    config = AgentConfig(
        data=str(tmp_path_factory.mktemp("agent")),
        trackers=[cluster.tracker.address],
        tag_indexes=[cluster.tag_index.address],
        listen=here,
        peer=PeerSettings(listen=here),
        deletions_s=0.1,
    )
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_agent(config, ready.set_result, stop))
        yield await ready
        stop.set()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as one:
        yield one


@pytest.fixture
def proxy(cluster: Cluster, session: aiohttp.ClientSession) -> Registry:
    """Takes pushes; and is what is tested, unless the test has a ``reader``."""
    return Registry(session, cluster.proxy.address)


@pytest.fixture
def agent(quick_agent: Listening, session: aiohttp.ClientSession) -> Registry:
    return Registry(session, quick_agent.address)


@pytest.fixture(params=["proxy", "agent"])
def reader(request: pytest.FixtureRequest, proxy: Registry, agent: Registry) -> Registry:
    """Each of the two that serve pulls and content discovery."""
    return proxy if request.param == "proxy" else agent


@pytest.fixture
def repository() -> str:
    return f"conformance/{next(_numbers)}"
