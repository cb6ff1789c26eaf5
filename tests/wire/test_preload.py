"""Preloads against sockets that answer as docker does, badly: real runtimes are in tests/clients."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
from aiohttp import web

from octopull.cli.cluster import Cluster, Ports, running
from octopull.config.preheating import PreloadSettings
from octopull.config.services import AgentConfig
from octopull.kernel.errors import Misuse
from octopull.services.agent.app import run as run_agent
from support.registry import Answer, Registry
from support.services import started

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path / "cluster", 0, Ports(0, "127.0.0.1")) as one:
        async with aiohttp.ClientSession() as session:
            await Registry(session, one.proxy.address).push_image("a/b", "v1")
        yield one


@asynccontextmanager
async def docker(handler: Handler) -> AsyncIterator[str]:
    """A socket; its path is short, as Unix wants it."""
    app = web.Application()
    app.add_routes([web.post("/images/create", handler)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    with TemporaryDirectory(prefix="docker") as folder:
        await web.UnixSite(runner, f"{folder}/sock").start()
        try:
            yield f"{folder}/sock"
        finally:
            await runner.cleanup()


async def preload(
    cluster: Cluster, folder: Path, settings: PreloadSettings, tag: str = "a/b:v1"
) -> Answer:
    config = AgentConfig(
        data=str(folder / "agent"), trackers=[cluster.tracker.address],
        tag_indexes=[cluster.tag_index.address], preload=settings,
    )  # fmt: skip
    async with started(run_agent, config) as agent, aiohttp.ClientSession() as session:
        return await Registry(session, agent.address)("GET", f"/preload/tags/{tag}")


async def test_what_docker_says_in_its_last_line_counts(cluster: Cluster, tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    async def fails_late(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.query))
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"status": "Pulling from a/b"}\n{"status": "Downl')
        await response.write(b'oading"}\n' + b"x" * 3_000_000 + b"\n")
        await response.write(b'{"errorDetail": {"message": "disk full"}, "error": "disk full"}')
        return response

    async with docker(fails_late) as socket:
        settings = PreloadSettings(runtime="docker", docker_socket=socket)
        answer = await preload(cluster, tmp_path, settings)
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert "disk full" in answer.body.decode()
    assert asked[0]["tag"] == "v1"
    assert asked[0]["fromImage"].startswith("127.0.0.1:")
    assert asked[0]["fromImage"].endswith("/a/b")


async def test_what_docker_refuses_is_told_in_its_words(cluster: Cluster, tmp_path: Path) -> None:
    async def refuses(_: web.Request) -> web.Response:
        return web.json_response({"message": "no room at the inn"}, status=500)

    async with docker(refuses) as socket:
        settings = PreloadSettings(runtime="docker", docker_socket=socket)
        answer = await preload(cluster, tmp_path, settings)
    assert answer.status == 503
    assert "no room at the inn" in answer.body.decode()


async def test_a_runtime_that_never_ends_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"status": "Waiting"}\n')
        await asyncio.Event().wait()
        return response

    async with docker(hangs) as socket:
        settings = PreloadSettings(runtime="docker", docker_socket=socket, timeout_s=0.2)
        answer = await preload(cluster, tmp_path, settings)
    assert answer.status == 503
    assert "within" in answer.body.decode()


async def test_what_cannot_be_preloaded_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    absent = PreloadSettings(runtime="docker", docker_socket=str(tmp_path / "none"))
    answer = await preload(cluster, tmp_path, absent)
    assert (answer.status, "does not answer" in answer.body.decode()) == (503, True)
    answer = await preload(cluster, tmp_path, PreloadSettings())
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    for tag, status in (("a/b:v2", 404), ("a/b", 400), ("a/b:v1?runtime=containerd", 405)):
        assert (await preload(cluster, tmp_path, absent, tag)).status == status


@pytest.mark.parametrize(
    "wrong", [{"runtime": "rkt"}, {"namespace": "a/b"}, {"snapshotter": "--x"}, {"timeout_s": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(Misuse):
        PreloadSettings(**wrong)  # type: ignore[arg-type]
