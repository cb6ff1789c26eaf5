"""Agents while no tag index answers: what a tag stood for last, if that is wanted, and called old."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import TagIndex
from octopull.config.services import AgentConfig, Listen, TagIndexConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.names import TagName
from octopull.services.agent.app import run as run_agent
from octopull.services.tag_index.app import run as run_tag_index
from support.ports import free_port
from support.registry import Registry, manifest
from support.services import started

PATH = "/v2/a/manifests/v1"
IMAGE, NEWER = manifest(b"{}"), manifest(b"{}", annotations={"version": "2"})
WARNING = '299 - "Response is Stale"'


class World:
    """A cluster, with a tag index that comes and goes."""

    def __init__(self, cluster: Cluster, folder: Path, http: Http) -> None:
        self.cluster = cluster
        self.folder = folder
        self.port = free_port()
        self.tags = TagIndex(http, [f"127.0.0.1:{self.port}"])
        self._origins = OriginCluster(http, [cluster.origin.address], 1)

    @asynccontextmanager
    async def index(self) -> AsyncIterator[None]:
        config = TagIndexConfig(
            data=str(self.folder / "index"), origins=[self.cluster.origin.address], replicas=1,
            listen=Listen(port=self.port),
        )  # fmt: skip
        async with started(run_tag_index, config):
            yield

    @asynccontextmanager
    async def agent(self, stale_tags_s: float) -> AsyncIterator[Registry]:
        config = AgentConfig(
            data=str(self.folder / f"agent-{stale_tags_s}"), stale_tags_s=stale_tags_s,
            trackers=[self.cluster.tracker.address], tag_indexes=[f"127.0.0.1:{self.port}"],
        )  # fmt: skip
        async with started(run_agent, config) as one, aiohttp.ClientSession() as session:
            yield Registry(session, one.address)

    async def put(self, image: bytes) -> None:
        for blob in (b"{}", image):
            await self._origins.uploads.push("a", Digest.of(blob), blob)
        await self.tags.record("a", Digest.of(image), ["v1"])


@pytest.fixture
async def world(tmp_path: Path, http: Http) -> AsyncIterator[World]:
    async with running(tmp_path, 0, Ports(0, "127.0.0.1")) as cluster:
        yield World(cluster, tmp_path, http)


async def test_a_tag_is_served_on_with_a_warning_by_agents_that_may(world: World) -> None:
    async with world.agent(3600) as lenient, world.agent(0) as strict, AsyncExitStack() as index:
        await index.enter_async_context(world.index())
        await world.put(IMAGE)
        for agent in (lenient, strict):
            told = await agent("GET", PATH)
            assert (told.body, "Warning" in told.headers) == (IMAGE, False)
        await index.aclose()
        told = await lenient("GET", PATH)
        assert (told.status, told.body, told.headers["Warning"]) == (200, IMAGE, WARNING)
        told = await lenient("GET", "/tags/a:v1")
        assert (told.body.decode(), told.headers["Warning"]) == (str(Digest.of(IMAGE)), WARNING)
        assert (await lenient("GET", "/v2/a/manifests/v2")).status == 503
        assert (await strict("GET", PATH)).status == 503
        async with world.index():
            await world.put(NEWER)
            told = await lenient("GET", PATH)
            assert (told.body, "Warning" in told.headers) == (NEWER, False)


async def test_a_tag_that_was_deleted_is_not_served_on(world: World) -> None:
    async with world.agent(3600) as agent:
        async with world.index():
            await world.put(IMAGE)
            assert (await agent("GET", PATH)).body == IMAGE
            await world.tags.delete_tag(TagName("a", "v1"))
            assert (await agent("GET", PATH)).status == 404
        assert (await agent("GET", PATH)).status == 503
