"""The Redis that trackers share is killed and hangs in the middle of swarms: pulls go on."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from octopull.http.client import Http
from octopull.kernel.digest import Digest
from support import images
from support.chaos.forks import Forks
from support.images import Image, image
from support.production import Node, Production, Shape, planned
from support.registry import Registry
from support.servers.redis import RedisServer, redis
from support.waiting import until

REPOSITORY = "team/app"
SOON_S = 30.0
LAYER_BYTES = 24_000_000
RATE_BYTES_PER_S = 16_000_000
"""So that a layer takes a second and a half, and is not over before something befell it."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis(tmp_path / "redis") as one:
        yield one


@pytest.fixture
async def cluster(
    tmp_path: Path, http: Http, forks: Forks, server: RedisServer
) -> AsyncIterator[Production]:
    shape = Shape(
        origins=1, trackers=2, agents=3, replicas=1,
        tracker={"peer_store": {"url": server.url}, "interval_s": 1.0, "peer_ttl_s": 6.0},
    )  # fmt: skip
    made = planned(tmp_path, http, shape, forks.place)
    for node in made.agents:
        node.settings["peer"]["bandwidth"] = {"in_bytes_per_s": RATE_BYTES_PER_S}
    with ExitStack() as running:
        for node in made.nodes:
            running.callback(node.stop)
        await made.start(*made.nodes)
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as one:
        yield one


async def store_is_up(http: Http, cluster: Production, value: int) -> None:
    """Until every tracker says so."""

    async def told() -> bool:
        line = f'octopull_peer_store_up{{store="redis"}} {value}.0'
        return all([line in await metrics(http, node) for node in cluster.trackers])

    await until(told, SOON_S)


async def metrics(http: Http, node: Node) -> str:
    reply = await http.call("GET", f"http://{node.address}/metrics", timeout_s=5)
    return reply.body.decode()


async def pull(
    session: aiohttp.ClientSession, node: Node, pushed: Image, begun: asyncio.Event
) -> bool:
    """The layer, whole and right; ``begun`` is set once some of it has come."""
    url = f"http://{node.address}/v2/{REPOSITORY}/blobs/{Digest.of(pushed.blobs[1])}"
    async with session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        first = await answer.content.readexactly(100_000)
        begun.set()
        return first + await answer.content.read() == pushed.blobs[1]


async def test_pulls_complete_while_their_trackers_store_is_killed_hangs_and_comes_back(
    cluster: Production, server: RedisServer, http: Http, session: aiohttp.ClientSession
) -> None:
    async def befalls(seed: int, what: str) -> None:
        pushed = image(seed, LAYER_BYTES)
        await images.push(Registry(session, cluster.proxies[0].address), REPOSITORY, what, pushed)
        begun = asyncio.Event()
        pulls = [asyncio.create_task(pull(session, node, pushed, begun)) for node in cluster.agents]
        async with asyncio.timeout(SOON_S):
            await begun.wait()
            assert server.process is not None
            if what == "killed":
                await server.kill()
            elif what == "hangs":
                server.process.send_signal(signal.SIGSTOP)
            assert not any(one.done() for one in pulls)
            assert all(await asyncio.gather(*pulls))

    await store_is_up(http, cluster, 1)
    await befalls(1, "nothing")
    await befalls(2, "killed")
    await store_is_up(http, cluster, 0)
    await server.start()
    await store_is_up(http, cluster, 1)
    await befalls(3, "hangs")
    await store_is_up(http, cluster, 0)
    assert server.process is not None
    server.process.send_signal(signal.SIGCONT)
    await store_is_up(http, cluster, 1)
    # Whoever seeds is told of again, with the next announce of each.
    async with server.client() as client:

        async def all_are_known() -> bool:
            keys = await client.keys("octopull:peers:*")
            return sorted([await client.zcard(key) >= 3 for key in keys])[-3:] == [True] * 3

        await until(all_are_known, SOON_S)
