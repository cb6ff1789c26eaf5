"""Preheats on real services: who fetches, what is told, and what a restart or a cancel does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients import preheats
from octopull.clients.preheats import PreheatClient
from octopull.config.services import (
    AgentConfig,
    BandwidthSettings,
    Listen,
    PeerSettings,
    TrackerConfig,
)
from octopull.http.client import Http
from octopull.http.serving import Listening
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound, Unavailable
from octopull.oci.manifests import MediaType
from octopull.placement.heartbeats import Preheat, Standing
from octopull.services.agent.app import run as run_agent
from octopull.services.tracker.app import run as run_tracker
from support.cluster import content
from support.registry import Registry, descriptor, index, manifest
from support.relays import Relays
from support.services import started
from support.waiting import until

MIB = 1 << 20
WAIT_S = 30.0
BEAT_S = 0.1


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path / "cluster", 3, Ports(0, "127.0.0.1")) as one:
        yield one


@pytest.fixture
def client(http: Http, cluster: Cluster) -> PreheatClient:
    return PreheatClient(http, [cluster.tracker.address])


async def push(proxy: Registry, config: bytes, *layers: bytes) -> bytes:
    for blob in (config, *layers):
        await proxy.push_blob(blob, "demo")
    stored = manifest(config, *layers)
    assert (await proxy.push_manifest("demo", str(Digest.of(stored)), stored)).status == 201
    return stored


async def cached(http: Http, agent: Listening) -> set[str]:
    """The digests that are whole on an agent's disk."""
    status = await http.json("GET", f"http://{agent.address}/status", dict[str, Any])
    return {row["digest"] for row in status["blobs"] if row["state"] != "downloading"}


def digests(*blobs: bytes) -> set[str]:
    return {str(Digest.of(blob)) for blob in blobs}


async def ended(client: PreheatClient, preheat: Preheat) -> Standing:
    """How it stands once every agent is done or failed."""
    found: list[Standing] = []

    async def over() -> bool:
        found.append(await client.standing(preheat.id))
        return found[-1].settled and found[-1].done + found[-1].failed == found[-1].agents

    await until(over, WAIT_S)
    return found[-1]


async def test_chosen_agents_hold_all_of_an_image_and_the_others_nothing(
    http: Http, cluster: Cluster, proxy: Registry, client: PreheatClient
) -> None:
    config, small, large = b"{}", content(1000, 1), content(6 * MIB, 2)
    image = await push(proxy, config, small, large)
    ordered = Preheat(
        namespace="demo", digest=str(Digest.of(image)), agents=[{"agent": "1"}, {"agent": "3"}]
    )
    standing = await ended(client, await client.begin(ordered))
    assert (standing.agents, standing.done, standing.failed) == (2, 2, 0)
    size = sum(map(len, (image, config, small, large)))
    assert standing.bytes_done == standing.bytes_total == 2 * size
    first, second, third = [await cached(http, agent) for agent in cluster.agents]
    assert first == third == digests(image, config, small, large)
    assert second == set()


async def test_what_is_there_already_is_done_and_can_be_ordered_again(
    proxy: Registry, client: PreheatClient
) -> None:
    image = await push(proxy, b"{}", content(1000, 3))
    ordered = Preheat(namespace="demo", digest=str(Digest.of(image)))
    first = await client.begin(ordered)
    assert (await ended(client, first)).done == 3
    again = await client.begin(ordered)
    assert again.id == first.id
    assert again.run > first.run
    standing = await ended(client, again)
    assert (standing.run, standing.done) == (again.run, 3)


async def test_of_an_index_only_the_images_of_the_platform_are_fetched(
    http: Http, cluster: Cluster, proxy: Registry, client: PreheatClient
) -> None:
    images = [await push(proxy, f"{n}".encode(), content(2000, n)) for n in (10, 11)]
    listed = zip(images, ("amd64", "arm64"), strict=True)
    stored = index(manifests=[
        descriptor(image, MediaType.OCI_MANIFEST, platform={"os": "linux", "architecture": one})
        for image, one in listed
    ])  # fmt: skip
    outer = index(manifests=[descriptor(stored, MediaType.OCI_INDEX)])
    for one in (stored, outer):
        answer = await proxy.push_manifest("demo", str(Digest.of(one)), one)
        assert answer.status == 201, answer.body
    ordered = Preheat(
        namespace="demo", digest=str(Digest.of(outer)), platforms=["linux/arm64"],
        agents=[{"agent": "2"}],
    )  # fmt: skip
    assert (await ended(client, await client.begin(ordered))).done == 1
    assert await cached(http, cluster.agents[1]) == digests(
        outer, stored, images[1], b"11", content(2000, 11)
    )


async def test_a_lone_blob_can_be_preheated(
    http: Http, cluster: Cluster, proxy: Registry, client: PreheatClient
) -> None:
    blob = content(3 * MIB, 4)
    digest = await proxy.push_blob(blob, "models")
    ordered = Preheat(namespace="models", digest=str(digest), blob=True)
    assert (await ended(client, await client.begin(ordered))).done == 3
    for agent in cluster.agents:
        assert await cached(http, agent) == {str(digest)}


async def test_an_agent_that_fails_is_told_with_its_reason(client: PreheatClient) -> None:
    nowhere = Preheat(namespace="demo", digest=str(Digest.of(b"never pushed")))
    standing = await ended(client, await client.begin(nowhere))
    assert (standing.agents, standing.done, standing.failed) == (3, 0, 3)
    assert len({failure.agent for failure in standing.failures}) == 3
    assert "no such blob" in standing.failures[0].reason


class Slow:
    """A tracker that can be started anew where it was, and an agent on a thin link."""

    def __init__(self, cluster: Cluster, folder: Path, stack: AsyncExitStack) -> None:
        self._origins = [cluster.origin.address]
        self._indexes = [cluster.tag_index.address]
        self._folder = folder
        self._stack = stack
        self._port = 0

    async def tracker(self) -> tuple[Listening, AsyncExitStack]:
        """Started; what stops it."""
        config = TrackerConfig(origins=self._origins, replicas=1, listen=Listen(port=self._port))
        stack = AsyncExitStack()
        listening = await stack.enter_async_context(started(run_tracker, config))
        self._stack.push_async_exit(stack)
        self._port = listening.port
        return listening, stack

    async def agent(self, tracker: Listening) -> Listening:
        """Receives 2 MiB a second."""
        thin = BandwidthSettings(in_bytes_per_s=2 * MIB)
        config = AgentConfig(
            data=str(self._folder / "slow"), trackers=[tracker.address], heartbeat_s=BEAT_S,
            tag_indexes=self._indexes, peer=PeerSettings(bandwidth=thin), labels={"slow": "yes"},
        )  # fmt: skip
        return await self._stack.enter_async_context(started(run_agent, config))


@pytest.fixture
async def slow(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Slow]:
    async with AsyncExitStack() as stack:
        yield Slow(cluster, tmp_path, stack)


async def working(client: PreheatClient, preheat: Preheat) -> bool:
    """Whether bytes have come, and not all of them."""
    standing = await client.standing(preheat.id)
    return 0 < standing.bytes_done < standing.bytes_total


async def test_a_tracker_may_be_started_anew_in_the_midst(
    http: Http, proxy: Registry, slow: Slow
) -> None:
    blobs = [content(3 * MIB, seed) for seed in (20, 21)]
    image = await push(proxy, *blobs)
    tracker, stop = await slow.tracker()
    agent = await slow.agent(tracker)
    client = PreheatClient(http, [tracker.address])
    ordered = Preheat(namespace="demo", digest=str(Digest.of(image)), agents=[{"slow": "yes"}])
    begun = await client.begin(ordered)
    await until(lambda: working(client, begun), WAIT_S)
    await stop.aclose()
    again, _ = await slow.tracker()
    assert again.port == tracker.port
    with pytest.raises(NotFound):
        await client.standing(begun.id)
    await client.put(begun)
    # The same run goes on: it is not begun anew, nor was it lost.
    standing = await ended(client, begun)
    assert (standing.run, standing.agents, standing.done) == (begun.run, 1, 1)
    assert await cached(http, agent) == digests(image, *blobs)


async def test_an_agent_tells_a_tracker_that_has_forgotten_what_it_did(
    http: Http, proxy: Registry, slow: Slow
) -> None:
    image = await push(proxy, b"{}")
    tracker, stop = await slow.tracker()
    await slow.agent(tracker)
    client = PreheatClient(http, [tracker.address])
    begun = await client.begin(Preheat(namespace="demo", digest=str(Digest.of(image))))
    assert (await ended(client, begun)).done == 1
    await stop.aclose()
    await slow.tracker()
    await client.put(begun)
    assert (await ended(client, begun)).done == 1


async def test_an_order_does_not_wait_for_a_tracker_that_hangs_once_another_took_it(
    http: Http, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preheats, "SILENT_S", 0.2)

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Relays(hang) as hanging:
        client = PreheatClient(http, [hanging.address, cluster.tracker.address])
        # Two questions, each of which would wait as long.
        async with asyncio.timeout(preheats.TIMEOUT_S):
            begun = await client.begin(Preheat(namespace="demo", digest=str(Digest.of(b"x"))))
            assert (await client.standing(begun.id)).run == begun.run
        alone = PreheatClient(http, [hanging.address])
        monkeypatch.setattr(preheats, "TIMEOUT_S", 0.2)
        with pytest.raises(Unavailable):
            await alone.begin(begun)
        with pytest.raises(Unavailable):
            await client.cancel(begun.id)


async def test_a_cancelled_preheat_fetches_no_further(
    http: Http, proxy: Registry, slow: Slow
) -> None:
    blobs = [content(3 * MIB, seed) for seed in range(30, 36)]
    image = await push(proxy, *blobs)
    other = await proxy.push_blob(b"another", "demo")
    tracker, _ = await slow.tracker()
    agent = await slow.agent(tracker)
    client = PreheatClient(http, [tracker.address])
    begun = await client.begin(Preheat(namespace="demo", digest=str(Digest.of(image))))
    await until(lambda: working(client, begun), WAIT_S)
    await client.cancel(begun.id)
    # Preheats are carried out one after another, so the first is over when the second is.
    second = Preheat(namespace="demo", digest=str(other), blob=True)
    assert (await ended(client, await client.begin(second))).done == 1
    held = await cached(http, agent)
    assert str(other) in held
    assert not digests(*blobs) <= held
    standing = await client.standing(begun.id)
    assert standing.cancelled
    assert standing.done == 0
    await client.put(begun)
    assert (await client.standing(begun.id)).cancelled


async def test_what_is_no_preheat_and_no_heartbeat_is_refused(
    http: Http, cluster: Cluster, client: PreheatClient
) -> None:
    base = f"http://{cluster.tracker.address}"
    digest = str(Digest.of(b""))
    bad = [
        ("POST", "/agents", b"not json"),
        ("POST", "/agents", b'{"id": "no id", "interval_s": 1}'),
        ("POST", "/agents", b'{"id": "%s", "interval_s": 1e9}' % (b"0" * 40)),
        ("PUT", f"/preheats/{'0' * 32}", b'{"namespace": "a", "digest": "%s"}' % digest.encode()),
        ("PUT", f"/preheats/{'0' * 32}", b'{"namespace": "../a", "digest": "sha256:0"}'),
    ]
    for method, path, body in bad:
        with pytest.raises(Misuse):
            await http.call(method, base + path, data=body)
    with pytest.raises(NotFound):
        await client.standing("0" * 32)
    with pytest.raises(NotFound):
        await client.cancel("no id at all")


async def test_any_tracker_that_answers_is_enough(http: Http, cluster: Cluster) -> None:
    client = PreheatClient(http, ["127.0.0.1:1", cluster.tracker.address])
    begun = await client.begin(
        Preheat(namespace="a", digest=str(Digest.of(b"")), agents=[{"a": "b"}])
    )
    assert (await client.standing(begun.id)).run == begun.run
    await asyncio.wait_for(client.put(begun), WAIT_S)
