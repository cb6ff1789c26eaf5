"""An owner that hangs costs pushes and pulls nothing once checks have noticed it."""

import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import pytest

from octopull.clients.membership import members_of
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.placement.members import Members
from support import images
from support.chaos.forks import Forks
from support.images import Image, image
from support.origins import holders
from support.production import Node, Production, Shape, planned
from support.registry import Registry
from support.waiting import until

REPOSITORY = "team/app"
SOON_S = 30.0
HEALTH = {"every_s": 0.2, "timeout_s": 0.5, "fails": 3, "passes": 2}
DEADLINES_S = 10.0
"""A push that waits for those that hang waits 10 s for each of several answers, and 30 s for a copy;
with slow disks a small one that does not may well take 5 s."""


@pytest.fixture
async def cluster(tmp_path: Path, http: Http, forks: Forks) -> AsyncIterator[Production]:
    shape = Shape(origins=3, tag_indexes=3, agents=1)
    one = planned(tmp_path, http, shape, forks.place)
    with ExitStack() as running:
        for node in one.nodes:
            running.callback(node.stop)
            if node.verb != "agent":
                node.settings["health"] = HEALTH
        await one.start(*one.nodes)
        yield one


@contextmanager
def hung(node: Node) -> Iterator[None]:
    os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.pid, signal.SIGCONT)


async def seen(http: Http, cluster: Production, nodes: Sequence[Node], *, up: bool) -> None:
    """Until all the others that depend on ``nodes`` think so of them."""
    others = [one for one in cluster.nodes if one not in nodes and one.verb != "agent"]

    async def think_so() -> bool:
        for other in others:
            told = await members_of(http, other.address)
            found = {one.host: one.up for members in told.values() for one in members}
            if any(found.get(node.address, up) is not up for node in nodes):
                return False
        return True

    await until(think_so, SOON_S)


async def timed(session: aiohttp.ClientSession, cluster: Production, pushed: Image) -> float:
    """Seconds of a push, by one who looks first, and pull through the proxy, and a pull by an agent."""
    began = time.monotonic()
    registry = Registry(session, cluster.proxies[0].address)
    for blob in pushed.blobs[1:]:
        answer = await registry("HEAD", f"/v2/{REPOSITORY}/blobs/{Digest.of(blob)}")
        assert answer.status == 404
    await images.push(registry, REPOSITORY, "v1", pushed)
    await images.pull(registry, REPOSITORY, "v1", pushed)
    await images.pull(Registry(session, cluster.agents[0].address), REPOSITORY, "v1", pushed)
    return time.monotonic() - began


def owned_by(node: Node, ring: list[str], seed: int) -> Image:
    """An image whose layer ``node`` should have before all others."""
    found = (image(one, 50_000) for one in itertools.count(seed))
    return next(
        one for one in found
        if Members(ring).now.line(Digest.of(one.blobs[-1]).hex)[0] == node.address
    )  # fmt: skip


async def test_pushes_and_pulls_do_not_wait_for_those_that_hang_and_use_them_again_later(
    cluster: Production, http: Http
) -> None:
    origin, *others = cluster.origins
    ring, up = [one.address for one in cluster.origins], [one.address for one in others]
    nodes = [origin, cluster.tag_indexes[0]]
    pushed = owned_by(origin, ring, 2)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        # A book is begun by all of its tag indexes together.
        await timed(session, cluster, image(1, 1000))
        with hung(nodes[0]), hung(nodes[1]):
            await seen(http, cluster, nodes, up=False)
            assert await timed(session, cluster, pushed) < DEADLINES_S
            for blob in (pushed.manifest, *pushed.blobs):
                # As many copies as ever, at those that are up.
                assert await holders(http, up, Digest.of(blob)) == set(up)
        await seen(http, cluster, nodes, up=True)
        again = owned_by(origin, ring, 1000)
        await timed(session, cluster, again)
        for blob in again.blobs:
            owners = Members(ring).now.owners(Digest.of(blob), 2)
            assert set(owners) <= await holders(http, ring, Digest.of(blob))
