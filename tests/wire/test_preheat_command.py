"""``octopull preheat`` as a process, against real clusters."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from octopull.cli.preheat import preheat as command
from octopull.config.services import TrackerConfig
from octopull.kernel.digest import Digest
from octopull.services.tracker.app import run as run_tracker
from support.cluster import OCTOPULL, up
from support.registry import Registry
from support.services import started

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("preheat")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[dict[str, Any]]:
    with up(folder) as document:
        yield document


@pytest.fixture
def ready(folder: Path, cluster: dict[str, Any]) -> Path:
    return folder / "ready.json"


@pytest.fixture
async def image(cluster: dict[str, Any]) -> str:
    """The digest of ``demo:v1``."""
    async with aiohttp.ClientSession() as session:
        registry = Registry(session, cluster["proxy"])
        return str(Digest.of(await registry.push_image("demo", "v1")))


@pytest.fixture
async def lonely() -> AsyncIterator[str]:
    """A tracker whose one agent speaks once an hour: what is ordered there stays undone."""
    async with (
        started(run_tracker, TrackerConfig(origins=["127.0.0.1:1"])) as tracker,
        aiohttp.ClientSession() as session,
    ):
        agent = {"id": "a" * 40, "interval_s": 3600.0}
        async with session.post(f"http://{tracker.address}/agents", json=agent) as answer:
            assert answer.status == 200
        yield tracker.address


async def preheat(*words: str | Path) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run, [OCTOPULL, "preheat", *words], capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


async def held(cluster: dict[str, Any]) -> list[int]:
    """How many blobs each agent has."""
    counts = []
    async with aiohttp.ClientSession() as session:
        for agent in cluster["agents"]:
            async with session.get(f"http://{agent['http']}/status") as answer:
                status: dict[str, Any] = await answer.json()
                counts.append(len(status["blobs"]))
    return counts


async def test_it_waits_until_the_chosen_agents_have_the_image(
    cluster: dict[str, Any], ready: Path, image: str
) -> None:
    chosen = ("--agents", "agent=1", "--agents", "agent=2")
    status, told, progress = await preheat("demo:v1", "--cluster", ready, *chosen)
    assert (status, told.splitlines()[-1]) == (0, "2 of 2 agents have it")
    assert f"demo@{image}" in told
    assert "2/2 agents" in progress
    assert await held(cluster) == [2, 2, 0]
    status, told, _ = await preheat(f"demo@{image}", "--cluster", ready, "--no-wait", *chosen)
    assert (status, told.count("\n")) == (0, 1)
    status, told, _ = await preheat("demo:v1", "--cluster", ready, "--cancel", *chosen)
    assert (status, "cancelled" in told) == (0, True)
    status, _, told = await preheat("demo:v1", "--cluster", ready, "--cancel")
    assert (status, "no tracker knows" in told) == (1, True)


async def test_it_fails_with_the_reason(ready: Path, image: str) -> None:
    nothing = str(Digest.of(b"never pushed"))
    for words, reason in (
        (("demo:v1", "--agents", "agent=9"), "no agent has these labels"),
        (("demo:v9",), "no such manifest"),
        (("--blob", nothing, "--namespace", "demo"), "3 of 3 agents failed"),
    ):
        status, _, told = await preheat(*words, "--cluster", ready)
        assert (status, reason in told) == (1, True), told
    assert told.count("no such blob") == 3


@pytest.mark.parametrize(
    "words",
    [(), ("demo:v1", "--blob", "sha256:0"), ("demo:v1", "--agents", "rack"),
     ("--blob", str(Digest.of(b"")))],
)  # fmt: skip
def test_misuse_is_told_before_anything_is_done(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 2
    assert "Usage" in done.output


async def test_time_runs_out(lonely: str) -> None:
    blob = ("--blob", str(Digest.of(b"")), "--namespace", "a")
    status, _, told = await preheat(*blob, "--tracker", lonely, "--timeout", "1s")
    assert status == 1
    assert "time ran out" in told


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Shells start what runs in the background deaf to SIGINT, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
async def test_an_interrupt_leaves_the_order_and_says_so(lonely: str) -> None:
    words = ["preheat", "--blob", str(Digest.of(b"")), "--namespace", "a", "--tracker", lonely]
    process = await asyncio.create_subprocess_exec(
        OCTOPULL, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(TIMEOUT_S):
        preheat_id = (await process.stdout.readline()).split()[1].decode()
        # Progress is shown once it waits.
        await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, told = await process.communicate()
    assert process.returncode == 130, told
    assert "the order goes on" in told.decode()
    async with aiohttp.ClientSession() as session:
        answer = await Registry(session, lonely)("GET", f"/preheats/{preheat_id}")
    assert (answer.status, answer.json["cancelled"]) == (200, False)
