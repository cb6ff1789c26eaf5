"""Preloads with real runtimes: they pull through the agent that is told to make them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oci_image import Image
from octopull.config.preheating import PreloadSettings
from octopull.config.services import AgentConfig
from octopull.services.agent.app import run as run_agent
from registry_clients import Containerd, Docker, run
from support.clients import Clients
from support.cluster import OCTOPULL
from support.registry import Answer, Registry
from support.services import started

NAME = "preload/image:v1"


@pytest.fixture
async def agent_of(cluster: dict[str, Any], tmp_path: Path) -> Any:
    """An agent that preloads with the given settings."""

    @asynccontextmanager
    async def agent(settings: PreloadSettings) -> AsyncIterator[Registry]:
        config = AgentConfig(
            data=str(tmp_path / "agent"), trackers=[cluster["tracker"]],
            tag_indexes=[cluster["tag_index"]], preload=settings,
        )  # fmt: skip
        async with started(run_agent, config) as listening, aiohttp.ClientSession() as session:
            yield Registry(session, listening.address)

    return agent


@pytest.fixture
async def pushed(proxy: str, image: Image) -> str:
    push = (OCTOPULL, "push", image.folder, NAME, "--to", f"http://{proxy}")
    await asyncio.to_thread(run, *push)
    return NAME


async def preloaded(agent: Registry, digest: str, name: str = NAME) -> Answer:
    answer = await agent("GET", f"/preload/tags/{name}")
    assert answer.status == 200, answer.body
    assert answer.json["digest"] == digest
    # It came through this very agent.
    status = await agent("GET", "/status")
    assert digest in {row["digest"] for row in status.json["blobs"]}
    return answer


async def test_docker_has_the_image_after_a_preload(
    clients: Clients, agent_of: Any, pushed: str, image: Image, folder: Path
) -> None:
    clients(Docker)
    socket = folder / "sandboxes" / "docker" / "docker.sock"
    settings = PreloadSettings(runtime="docker", docker_socket=str(socket))
    async with agent_of(settings) as agent:
        answer = await preloaded(agent, str(image.digest))
        assert answer.json["runtime"] == "docker"
        docker = ("docker", "-H", f"unix://{socket}")
        listed = await asyncio.to_thread(
            run, *docker, "images", "--format", "{{.Repository}}:{{.Tag}}"
        )
        assert f"{agent.address}/{pushed}" in listed.split()
        missing = await agent("GET", "/preload/tags/preload/image:v2")
        assert (missing.status, missing.code) == (404, "NAME_UNKNOWN")


async def test_containerd_has_the_image_after_a_preload(
    clients: Clients, agent_of: Any, pushed: str, image: Image, folder: Path
) -> None:
    clients(Containerd)
    socket = folder / "sandboxes" / "containerd" / "containerd.sock"
    settings = PreloadSettings(
        runtime="containerd", containerd_socket=str(socket), snapshotter="native"
    )
    ctr = ("ctr", "--address", socket, "--namespace")
    async with agent_of(settings) as agent:
        await preloaded(agent, str(image.digest))
        reference = f"{agent.address}/{pushed}"
        for namespace in ("k8s.io", "other"):
            listed = await asyncio.to_thread(run, *ctr, namespace, "images", "ls", "-q")
            assert (reference in listed.split()) == (namespace == "k8s.io")
        assert (await agent("GET", f"/preload/tags/{pushed}?namespace=other")).status == 200
        assert reference in (await asyncio.to_thread(run, *ctr, "other", "images", "ls", "-q"))
        bad = await agent("GET", f"/preload/tags/{pushed}?namespace=a/b")
        assert bad.status == 400


async def test_what_containerd_refuses_is_told_in_its_words(
    clients: Clients, agent_of: Any, pushed: str, folder: Path
) -> None:
    clients(Containerd)
    socket = folder / "sandboxes" / "containerd" / "containerd.sock"
    settings = PreloadSettings(
        runtime="containerd", containerd_socket=str(socket), snapshotter="no-such"
    )
    async with agent_of(settings) as agent:
        answer = await agent("GET", f"/preload/tags/{pushed}")
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert "no-such" in answer.body.decode()
