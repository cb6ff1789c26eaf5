"""Limits of peer traffic on real sockets, changed while a pull runs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.runtime.bandwidth import Bucket, Flow, Rate
from octopull.swarm.codec import Decoder
from octopull.swarm.messages import Have
from octopull.transport.line import PlainLine
from octopull.transport.sending import Body, Sender
from support.cluster import content

MIB = 1 << 20
NAMES = ("in_bytes_per_s", "out_bytes_per_s", "swarm_in_bytes_per_s", "swarm_out_bytes_per_s")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as one:
        yield one


async def limit(http: Http, url: str, **limits: int | None) -> dict[str, Any]:
    path = f"{url}/x/config/bandwidth"
    told = await http.json("PATCH", path, dict, body=limits)
    assert told == await http.json("GET", path, dict)
    return told


@pytest.mark.parametrize("name", NAMES)
async def test_a_limit_holds_a_pull_back_until_it_is_lifted(
    http: Http, cluster: Cluster, name: str
) -> None:
    blob, agent = content(8 * MIB, 1), cluster.agents[0]
    await OriginCluster(http, [cluster.origin.address], 1).uploads.push("ns", Digest.of(blob), blob)
    limited = cluster.origin if "out" in name else agent
    assert (await limit(http, limited.url, **{name: 200_000}))[name] == 200_000
    url = f"{agent.url}/namespace/ns/blobs/{Digest.of(blob)}"
    pull = asyncio.create_task(http.call("GET", url, bytes_max=1 << 30, timeout_s=60))
    loop = asyncio.get_running_loop()
    began, have = loop.time(), 0
    while have == 0:
        await asyncio.sleep(0.02)
        status = await http.json("GET", f"{agent.url}/status", dict)
        have = max((row["have_bytes"] for row in status["blobs"]), default=0)
        # Whatever the machine's load: no more than the rate, a burst and what was in flight.
        assert have <= 200_000 * (loop.time() - began + 1) + MIB
    assert not pull.done()
    await limit(http, limited.url, **{name: None})
    assert (await pull).body == blob


@pytest.mark.parametrize(
    "body", [{"speed": 1}, {"in_bytes_per_s": 0}, {"in_bytes_per_s": -1}, {"in_bytes_per_s": 1.5},
             {"in_bytes_per_s": "fast"}, {"out_bytes_per_s": 10**320}, {"out_bytes_per_s": 2**53}, [], 3],
)  # fmt: skip
async def test_limits_that_make_no_sense_change_nothing(
    http: Http, cluster: Cluster, body: Any
) -> None:
    path = f"{cluster.agents[0].url}/x/config/bandwidth"
    before = await http.json("GET", path, dict)
    with pytest.raises(Misuse):
        await http.json("PATCH", path, dict, body=body)
    assert await http.json("GET", path, dict) == before == dict.fromkeys(NAMES)


@pytest.mark.parametrize("cure", [None, 50_000_000])
async def test_a_limit_set_far_too_low_by_mistake_is_cured_at_once(
    http: Http, cluster: Cluster, cure: int | None
) -> None:
    blob, agent = content(2 * MIB, 2), cluster.agents[0]
    await OriginCluster(http, [cluster.origin.address], 1).uploads.push("ns", Digest.of(blob), blob)
    await limit(http, cluster.origin.url, out_bytes_per_s=10)
    url = f"{agent.url}/namespace/ns/blobs/{Digest.of(blob)}"
    pull = asyncio.create_task(http.call("GET", url, bytes_max=1 << 30, timeout_s=60))
    await asyncio.sleep(0.5)  # so that a quantum has moved: 27 minutes of debt at that rate
    assert not pull.done()
    await limit(http, cluster.origin.url, out_bytes_per_s=cure)
    async with asyncio.timeout(10):
        assert (await pull).body == blob


async def test_frames_overtake_a_body_that_a_limit_holds_back(tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(bytes(100_000))
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    flow, served = Flow(Bucket(Rate(1))), list[int]()
    flow.spend(1000)
    sender = Sender(PlainLine(ours), flow, lambda piece, _: served.append(piece), lambda _: None)
    loop, decoder = asyncio.get_running_loop(), Decoder(1 << 16)
    with file.open("rb") as opened:
        sender.serve(Body(0, opened.fileno(), 0, 100_000), 0)
    await asyncio.sleep(0.05)
    sender.send(Have(7))
    async with asyncio.timeout(5):
        assert list(decoder.feed(await loop.sock_recv(theirs, 1000))) == [Have(7)]
    assert sender.withdraw(0)
    assert not served
    sender.stop()
    ours.close()
    theirs.close()
