"""Processes keep to their number of swarms and of connections: idle swarms go, strangers are told, pulls too."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.origin import OriginCluster
from octopull.config.peers import PeerLimits
from octopull.config.services import AgentConfig, BandwidthSettings, OriginConfig, PeerSettings
from octopull.http.client import Http
from octopull.http.serving import Listening
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.kernel.peers import Peer
from octopull.observability import metrics
from octopull.services.agent.app import run as run_agent
from octopull.services.origin.app import run as run_origin
from octopull.swarm import codec, handshake
from octopull.swarm.codec import Decoder
from octopull.swarm.messages import Goodbye, Handshake, Message, Reason
from octopull.transport import places
from support.cluster import content
from support.services import started
from support.waiting import until

PORTS = Ports(0, "127.0.0.1")
BLOBS = [content(1 << 20, seed) for seed in range(3)]
"""Of several pieces: those of one come without a swarm."""


def limited(service: str, limit: str) -> float:
    return float(metrics.LIMITED.labels(service, limit)._value.get())


@asynccontextmanager
async def agent(cluster: Cluster, folder: Path, peer: PeerSettings) -> AsyncIterator[Listening]:
    config = AgentConfig(
        data=str(folder / "agent"), trackers=[cluster.tracker.address],
        tag_indexes=[cluster.tag_index.address], peer=peer,
    )  # fmt: skip
    async with started(run_agent, config) as one:
        yield one


@asynccontextmanager
async def cluster(folder: Path, http: Http) -> AsyncIterator[Cluster]:
    """One with ``BLOBS``."""
    async with running(folder / "cluster", 0, PORTS) as one:
        origin = OriginCluster(http, [one.origin.address], 1)
        for blob in BLOBS:
            await origin.uploads.push("ns", Digest.of(blob), blob)
        yield one


async def pull(http: Http, one: Listening, blob: bytes) -> bytes:
    url = f"{one.url}/namespace/ns/blobs/{Digest.of(blob)}"
    return (await http.call("GET", url, bytes_max=1 << 30, timeout_s=30)).body


async def test_an_agent_leaves_the_oldest_idle_swarm_for_one_more(
    http: Http, tmp_path: Path
) -> None:
    peer = PeerSettings(limits=PeerLimits(swarms_max=2))
    async with cluster(tmp_path, http) as it, agent(it, tmp_path, peer) as one:
        before = float(metrics.SWARMS_MADE_WAY._value.get())
        for blob in BLOBS:
            assert await pull(http, one, blob) == blob
        assert metrics.SWARMS_MADE_WAY._value.get() == before + 1
        # It is in the cache still.
        assert await pull(http, one, BLOBS[0]) == BLOBS[0]

        async def has_left() -> bool:
            status = await http.json("GET", f"{one.url}/status", dict)
            states = {row["digest"]: row["state"] for row in status["blobs"]}
            told = [states.get(str(Digest.of(blob))) for blob in BLOBS]
            return told == ["cached", "seeding", "seeding"]

        await until(has_left, 10)


async def test_a_pull_for_which_there_is_no_place_is_told_which_limit_that_is(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "ROOM_S", 0.2)
    slow = BandwidthSettings(in_bytes_per_s=1000)
    peer = PeerSettings(limits=PeerLimits(swarms_max=1), bandwidth=slow)
    async with cluster(tmp_path, http) as it, agent(it, tmp_path, peer) as one:
        first = asyncio.create_task(pull(http, one, BLOBS[0]))

        async def has_begun() -> bool:
            return bool((await http.json("GET", f"{one.url}/status", dict))["blobs"])

        await until(has_begun, 10)
        before = limited("agent", "swarms")
        with pytest.raises(Unavailable, match=r"in 1 swarms at most \(peer\.limits\.swarms_max\)"):
            await pull(http, one, BLOBS[1])
        assert limited("agent", "swarms") == before + 1
        url = f"{one.url}/x/config/bandwidth"
        await http.json("PATCH", url, dict, body={"in_bytes_per_s": None})
        assert await first == BLOBS[0]
        assert await pull(http, one, BLOBS[1]) == BLOBS[1]


@asynccontextmanager
async def dialled(one: Listening, hello: Handshake) -> AsyncIterator[list[Message]]:
    """A peer's connection, and what it was told first, as long as the block runs."""
    reader, writer = await asyncio.open_connection("127.0.0.1", one.peer_port)
    try:
        writer.write(codec.encode(hello))
        decoder, told = Decoder(1 << 20), list[Message]()
        while not told and (data := await reader.read(1 << 16)):
            told += decoder.feed(data)
        yield told
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_peers_beyond_the_number_of_connections_are_told_that_it_is_full(
    http: Http, tmp_path: Path
) -> None:
    limits = PeerLimits(connections_max=16)
    peer = PeerSettings(limits=limits, connections_max=32)
    config = OriginConfig(data=str(tmp_path / "origin"), replicas=1, peer=peer)
    async with started(run_origin, config) as one, contextlib.AsyncExitStack() as stack:
        origin = OriginCluster(http, [one.address], 1)
        digest = Digest.of(BLOBS[0])
        await origin.uploads.push("ns", digest, BLOBS[0])
        outline = (await origin.metainfo("ns", digest)).outline
        before = limited("origin", "peer_connections")

        async def dial(at: int) -> Message:
            me = Peer(id=f"{at:040x}", host="127.0.0.1", port=1 + at)
            hello = handshake.greet(outline, "ns", me, 0)
            (first, *_) = await stack.enter_async_context(dialled(one, hello))
            return first

        # An eighth of the places is its own.
        for at in range(14):
            assert isinstance(await dial(at), Handshake)
        assert await dial(99) == Goodbye(Reason.FULL)
        assert limited("origin", "peer_connections") == before + 1


async def test_a_seed_that_a_peer_is_connected_to_makes_no_room_until_the_peer_has_left(
    http: Http, tmp_path: Path
) -> None:
    peer = PeerSettings(limits=PeerLimits(swarms_max=1))
    config = OriginConfig(data=str(tmp_path / "origin"), replicas=1, peer=peer)
    async with started(run_origin, config) as one:
        origin = OriginCluster(http, [one.address], 1)
        hellos = list[Handshake]()
        for at, blob in enumerate(BLOBS[:2]):
            await origin.uploads.push("ns", Digest.of(blob), blob)
            outline = (await origin.metainfo("ns", Digest.of(blob))).outline
            me = Peer(id=f"{at:040x}", host="127.0.0.1", port=1 + at)
            hellos.append(handshake.greet(outline, "ns", me, 0))
        before = limited("origin", "swarms")
        async with dialled(one, hellos[0]) as told:
            assert isinstance(told[0], Handshake)
            async with dialled(one, hellos[1]) as refused:
                assert refused == [Goodbye(Reason.FULL)]
            assert limited("origin", "swarms") == before + 1

        async def is_let_in() -> bool:
            async with dialled(one, hellos[1]) as told:
                return isinstance(told[0], Handshake)

        await until(is_let_in, 10)
