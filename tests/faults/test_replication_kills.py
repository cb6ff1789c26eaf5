"""A tag index that replicates, killed: nothing that it was to tell is lost, little is sent twice."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster
from octopull.http.client import Http
from support.chaos.forks import Forks
from support.images import Image, image, pull, push
from support.link import Link
from support.production import Node, Production, Shape
from support.registry import Registry, digest_of
from support.replicating import REPLICATED_S, remote, replicated, replicating, rules
from support.waiting import until

SHAPE = Shape(origins=1, agents=0)
RATE = 16_000_000
KILLS = 4
TAGS = 3
PUSHED_S = 60.0


@pytest.fixture
async def cluster(
    tmp_path: Path, http: Http, link: Link, forks: Forks
) -> AsyncIterator[Production]:
    """One that replicates over ``link``, each service a process."""
    to = remote("other", f"http://{link.address}", bytes_per_s=RATE)
    settings = rules(tmp_path / "rules.yaml", to, deletes=True)
    async with replicating(tmp_path / "here", http, SHAPE, settings, forks) as one:
        yield one


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


async def test_a_killed_tag_index_goes_on_with_the_blob_that_was_under_way(
    http: Http, session: aiohttp.ClientSession, cluster: Production, other: Cluster, link: Link
) -> None:
    sizes = 24_000_000, 4_000_000
    pushed = image(1, *sizes)
    (index,) = cluster.tag_indexes

    async def most_came() -> bool:
        return link.sent_bytes > 0.6 * sum(sizes)

    await push(Registry(session, cluster.proxies[0].address), "team/app", "v1", pushed)
    await until(most_came, REPLICATED_S)
    index.kill()
    assert link.sent_bytes < sum(sizes)
    await cluster.start(index)
    await replicated(http, index.address)
    await pull(Registry(session, other.proxy.address), "team/app", "v1", pushed)
    # No more than what the other side had not written yet came twice.
    assert link.sent_bytes < 1.4 * sum(sizes)


async def push_or_repeat(registry: Registry, tag: str, pushed: Image) -> None:
    """As clients do, whose registry is restarted."""

    async def once() -> bool:
        with suppress(AssertionError, aiohttp.ClientError):
            await push(registry, "team/app", tag, pushed)
            return True
        return False

    await until(once, PUSHED_S)


async def kill_again_and_again(cluster: Production, index: Node) -> None:
    chance = random.Random(5)
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.2, 1.0))
        index.kill()
        await cluster.start(index)


async def test_whenever_the_tag_index_is_killed_the_remote_has_every_acknowledged_move(
    http: Http, session: aiohttp.ClientSession, cluster: Production, other: Cluster
) -> None:
    here = Registry(session, cluster.proxies[0].address)
    there = Registry(session, other.proxy.address)
    (index,) = cluster.tag_indexes
    last: dict[str, Image] = {}
    killing = asyncio.create_task(kill_again_and_again(cluster, index))
    number = 0
    while not killing.done():
        number += 1
        tag, one = f"v{number % TAGS}", image(number, 20_000)
        await push_or_repeat(here, tag, one)
        last[tag] = one
    await killing
    await replicated(http, index.address)
    assert number >= TAGS
    for tag, one in last.items():
        answer = await here("GET", f"/v2/team/app/manifests/{tag}")
        assert digest_of(answer.body) == digest_of(one.manifest)
        await pull(there, "team/app", tag, one)
