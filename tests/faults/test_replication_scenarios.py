"""Replication to a second cluster by three tag indexes, as Kraken's integration tests name it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster
from octopull.http.client import Http
from support.agreeing import leader
from support.chaos.forks import Forks
from support.images import Image, image, pull, push
from support.link import Link
from support.production import Production, Shape
from support.registry import Registry
from support.replicating import remote, replicated, replicating, rules, untold
from support.waiting import until

SHAPE = Shape(origins=1, tag_indexes=3, agents=0, replicas=1)
REPOSITORY = "team/app"
SOON_S = 60.0


@pytest.fixture
async def cluster(
    tmp_path: Path, http: Http, link: Link, forks: Forks
) -> AsyncIterator[Production]:
    settings = rules(tmp_path / "rules.yaml", remote("other", f"http://{link.address}"))
    async with replicating(tmp_path / "here", http, SHAPE, settings, forks) as one:
        yield one


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


@pytest.fixture
def here(session: aiohttp.ClientSession, cluster: Production) -> Registry:
    return Registry(session, cluster.proxies[0].address)


@pytest.fixture
def there(session: aiohttp.ClientSession, other: Cluster) -> Registry:
    return Registry(session, other.proxy.address)


async def pushed(here: Registry, seed: int) -> Image:
    one = image(seed, 100_000)
    await push(here, REPOSITORY, "v1", one)
    return one


async def test_an_image_is_replicated_while_one_tag_index_is_away(
    http: Http, cluster: Production, here: Registry, there: Registry
) -> None:
    (await leader(http, cluster.tag_indexes)).kill()
    one = await pushed(here, 1)
    await replicated(http, (await leader(http, cluster.tag_indexes)).address)
    await pull(there, REPOSITORY, "v1", one)


async def test_replication_is_tried_again_until_the_remote_is_back(
    http: Http, cluster: Production, here: Registry, there: Registry, link: Link
) -> None:
    link.cut(resets=True)
    one = await pushed(here, 2)
    index = (await leader(http, cluster.tag_indexes)).address
    assert await untold(http, index) == 1
    link.heal()
    await replicated(http, index)
    await pull(there, REPOSITORY, "v1", one)


async def test_an_image_is_replicated_though_the_tag_index_that_took_it_lost_its_disk(
    http: Http, cluster: Production, here: Registry, there: Registry, link: Link
) -> None:
    link.cut()
    one = await pushed(here, 3)
    took = await leader(http, cluster.tag_indexes)
    took.kill()
    took.wipe()
    await cluster.start(took)
    link.heal()

    async def done() -> bool:
        index = await leader(http, cluster.tag_indexes)
        return not await untold(http, index.address)

    await until(done, SOON_S)
    await pull(there, REPOSITORY, "v1", one)
