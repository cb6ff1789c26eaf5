"""What real clients once said to proxy and agent gets the same answers today."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from support.golden import FOLDER, Told, Transcript, load, replay

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as one:
        yield one


async def prepare(transcript: Transcript, cluster: Cluster) -> None:
    for name in transcript.after:
        assert await replay(load(name), cluster.proxy.address) == []


@pytest.mark.parametrize("operation", ["push", "pull"])
def test_every_client_is_here(operation: str) -> None:
    clients = ("skopeo", "podman", "buildah", "docker", "docker-sdk", "containerd", "oras")
    assert {f"{client}-{operation}" for client in clients} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
async def test_a_client_hears_what_it_heard(cluster: Cluster, name: str) -> None:
    transcript = load(name)
    await prepare(transcript, cluster)
    if transcript.reads:
        assert await replay(transcript, cluster.agents[0].address) == []
    assert await replay(transcript, cluster.proxy.address) == []


async def test_another_answer_is_noticed(cluster: Cluster) -> None:
    transcript = load("skopeo-pull")
    await prepare(transcript, cluster)
    last = transcript.exchanges[-1]
    for told in (
        Told(206, last.told.headers, last.told.body),
        Told(last.told.status, {**last.told.headers, "Content-Type": "text/plain"}, last.told.body),
        Told(last.told.status, last.told.headers, "another body"),
    ):
        other = msgspec.structs.replace(last, told=told)
        exchanges = [*transcript.exchanges[:-1], other]
        altered = msgspec.structs.replace(transcript, exchanges=exchanges)
        (difference,) = await replay(altered, cluster.proxy.address)
        assert last.ask.path in difference
