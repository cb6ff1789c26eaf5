"""Clusters of processes of which some are killed, wiped or stopped: images still flow.

These are the scenarios that Kraken's integration tests name. Others of them are shown elsewhere:
uploads and downloads of one host (tests/clients, tests/conformance), preloading
(tests/clients/test_preload.py), agents killed in the middle (test_kills.py), replication
(test_replication_scenarios.py).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from support import images, toxic
from support.chaos.forks import Forks
from support.client_certificates import asking_for_certificates, showing, upload_of
from support.images import Image, image
from support.production import Node, Production, Shape, production
from support.registry import Registry
from support.servers.moto import moto
from support.toxic import Toxic
from support.waiting import until
from support.write_back import written

REPOSITORY = "team/app"
SOON_S = 60.0
METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})


def small(seed: int) -> Image:
    """A layer of one piece, and one of several."""
    return image(seed, 100_000, 9_000_000)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as one:
        yield one


async def push(session: aiohttp.ClientSession, proxy: Node, tag: str, pushed: Image) -> None:
    await images.push(Registry(session, proxy.address), REPOSITORY, tag, pushed)


async def pull(session: aiohttp.ClientSession, node: Node, tag: str, pushed: Image) -> None:
    await images.pull(Registry(session, node.address), REPOSITORY, tag, pushed)


@asynccontextmanager
async def backed(
    folder: Path, http: Http, forks: Forks, **shape: Any
) -> AsyncIterator[tuple[Production, Toxic]]:
    """A cluster whose origins write to a bucket, behind a front that can refuse everything."""
    async with moto() as bucket, toxic.toxic(str(bucket.options["endpoint"])) as front:
        front.methods = METHODS
        found = bucket.settings(endpoint=front.url)
        backend = {
            "url": found.url, "name": "bucket", "credentials": found.credentials,
            "options": dict(found.options), "attempts_max": 2,
        }  # fmt: skip
        settings = {"backends": [backend], "write_back": {"stagger_s": 1.0, "retry_s_max": 2.0}}
        async with production(
            folder, http, Shape(origin=settings, **shape), forks.place
        ) as cluster:
            yield cluster, front


async def lose(cluster: Production, *nodes: Node) -> None:
    """Kill ``nodes``, and start them again with empty disks."""
    for node in nodes:
        node.kill()
        node.wipe()
    await cluster.start(*nodes)


async def test_several_agents_download_an_image_at_once(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks
) -> None:
    async with production(tmp_path, http, Shape(agents=4), forks.place) as cluster:
        pushed = small(1)
        await push(session, cluster.proxies[0], "v1", pushed)
        await asyncio.gather(*(pull(session, agent, "v1", pushed) for agent in cluster.agents))


async def test_images_are_distributed_while_the_backend_is_down_and_written_back_later(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks
) -> None:
    async with backed(tmp_path, http, forks) as (cluster, bucket):
        bucket.always = toxic.refuses
        pushed = small(2)
        await push(session, cluster.proxies[0], "v1", pushed)
        await asyncio.gather(*(pull(session, agent, "v1", pushed) for agent in cluster.agents))
        bucket.always = None
        await written(http, *(one.address for one in cluster.origins))
        await lose(cluster, *cluster.origins, *cluster.agents)
        await pull(session, cluster.agents[0], "v1", pushed)


@pytest.mark.parametrize("lost", ["origins", "origins and agents"])
async def test_what_only_the_backend_has_reaches_agents_whatever_trackers_remember(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks, lost: str
) -> None:
    async with backed(tmp_path, http, forks) as (cluster, _):
        pushed = small(3)
        await push(session, cluster.proxies[0], "v1", pushed)
        await pull(session, cluster.agents[0], "v1", pushed)
        await written(http, *(one.address for one in cluster.origins))
        await lose(cluster, *cluster.origins, *(cluster.agents if "agents" in lost else []))
        await pull(session, cluster.agents[1], "v1", pushed)
        await pull(session, cluster.agents[0], "v1", pushed)


async def test_what_was_prefetched_is_pulled_though_the_backend_is_down_by_then(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks
) -> None:
    async with backed(tmp_path, http, forks) as (cluster, bucket):
        pushed, proxy = small(4), Registry(session, cluster.proxies[0].address)
        await push(session, cluster.proxies[0], "v1", pushed)
        await written(http, *(one.address for one in cluster.origins))
        await lose(cluster, *cluster.origins)
        ask = f'{{"tag": "{REPOSITORY}:v1"}}'.encode()
        answer = await proxy("POST", "/proxy/v1/registry/prefetch", ask)
        assert answer.status < 300, answer

        async def fetched() -> bool:
            for blob in (pushed.manifest, *pushed.blobs):
                url = f"namespace/{REPOSITORY}/blobs/{Digest.of(blob)}?whole=1"
                found = [await has(http, f"http://{one.address}/{url}") for one in cluster.origins]
                if not any(found):
                    return False
            return True

        await until(fetched, SOON_S)
        bucket.always = toxic.refuses
        await pull(session, cluster.agents[0], "v1", pushed)


async def has(http: Http, url: str) -> bool:
    try:
        await http.call("HEAD", url)
    except NotFound:
        return False
    return True


async def test_an_unknown_blob_is_not_found_and_nobody_knows_while_the_backend_is_down(
    http: Http, tmp_path: Path, forks: Forks
) -> None:
    async with backed(tmp_path, http, forks, agents=1) as (cluster, bucket):
        agent = cluster.agents[0].address
        for number, toxin in enumerate([None, toxic.refuses, None]):
            bucket.always = toxin
            unknown = Digest.of(f"nobody has {number}".encode())
            with pytest.raises(NotFound if toxin is None else Unavailable) as found:
                await http.call("GET", f"http://{agent}/namespace/ns/blobs/{unknown}", timeout_s=60)
            assert found.value.details["status"] == (404 if toxin is None else 503)


async def test_with_one_of_two_replicas_away_images_are_pulled(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks
) -> None:
    for away in (0, 1):
        async with production(tmp_path / str(away), http, Shape(agents=1), forks.place) as cluster:
            pushed = small(5)
            await push(session, cluster.proxies[0], "v1", pushed)
            cluster.origins[away].kill()
            await pull(session, cluster.agents[0], "v1", pushed)
            await pull(session, cluster.proxies[0], "v1", pushed)


async def test_a_download_that_waits_for_all_origins_completes_when_they_are_back(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks
) -> None:
    async with production(tmp_path, http, Shape(agents=1), forks.place) as cluster:
        pushed = small(6)
        await push(session, cluster.proxies[0], "v1", pushed)
        for node in (*cluster.origins, *cluster.trackers):  # Trackers remember metainfo.
            node.kill()
        await cluster.start(*cluster.trackers)
        pulling = asyncio.create_task(pull(session, cluster.agents[0], "v1", pushed))
        log = cluster.agents[0].folder / "log"

        async def waits() -> bool:
            assert not pulling.done()
            return "waiting" in log.read_text()

        await until(waits, SOON_S)
        await cluster.start(*cluster.origins)
        await asyncio.wait_for(pulling, SOON_S)


async def test_all_go_through_a_proxy_and_one_that_is_new(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks
) -> None:
    async with production(tmp_path, http, Shape(agents=1), forks.place) as cluster:
        pushed, proxy = small(7), cluster.proxies[0]
        await push(session, proxy, "v1", pushed)
        await pull(session, proxy, "v1", pushed)
        await lose(cluster, proxy)
        await pull(session, proxy, "v1", pushed)
        await pull(session, cluster.agents[0], "v1", pushed)
        registry = Registry(session, proxy.address)
        assert (await registry("GET", f"/v2/{REPOSITORY}/tags/list")).json["tags"] == ["v1"]
        assert (await registry("GET", "/v2/_catalog")).json["repositories"] == [REPOSITORY]


async def test_with_the_backend_and_one_of_each_service_away_images_flow(
    http: Http, session: aiohttp.ClientSession, tmp_path: Path, forks: Forks
) -> None:
    several = {"origins": 3, "trackers": 2, "tag_indexes": 3, "proxies": 2}
    async with backed(tmp_path, http, forks, **several) as (cluster, bucket):
        old, new = small(8), small(9)
        await push(session, cluster.proxies[0], "old", old)
        bucket.always = toxic.refuses
        for service in cluster.by_verb.values():
            service[0].kill()
        await push(session, cluster.proxies[1], "new", new)
        await pull(session, cluster.agents[1], "old", old)
        await pull(session, cluster.agents[1], "new", new)
        await cluster.start(cluster.agents[0])
        await pull(session, cluster.agents[0], "new", new)


async def test_an_upload_without_a_client_certificate_is_refused(tmp_path: Path) -> None:
    async with asking_for_certificates(tmp_path) as url:
        for name, status in (("", 401), ("known", 201)):
            async with (
                showing(tmp_path, name) as client,
                client.post(upload_of(url, b"blob"), data=b"blob") as answer,
            ):
                assert answer.status == status
