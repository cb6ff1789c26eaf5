"""Prefetches through the proxy, and what registries tell it of pushes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.preheats import PreheatClient
from octopull.config.services import ProxyConfig
from octopull.config.upstreams import UpstreamSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.oci.manifests import MediaType
from octopull.services.proxy.app import run as run_proxy
from octopull.services.proxy.prefetch_api import WORKERS
from support.cluster import content
from support.registry import Answer, Registry, manifest
from support.services import started
from support.waiting import until

WAIT_S = 30.0
UPSTREAM = "up.example"
LAYERS = [content(2000, 1), content(300_000, 2)]
IMAGE = manifest(b"{}", *LAYERS)
V1, V2 = "/proxy/v1/registry/prefetch", "/proxy/v2/registry/prefetch"


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Registry]:
    async with (
        running(tmp_path / "upstream", 0, Ports(0, "127.0.0.1")) as cluster,
        aiohttp.ClientSession() as session,
    ):
        registry = Registry(session, cluster.proxy.address)
        for blob in (b"{}", *LAYERS):
            await registry.push_blob(blob, "team/web")
        assert (await registry.push_manifest("team/web", "v1", IMAGE)).status == 201
        yield registry


@pytest.fixture
async def cluster(tmp_path: Path, upstream: Registry) -> AsyncIterator[Cluster]:
    settings = UpstreamSettings(name=UPSTREAM, url=f"http://{upstream.address}")
    async with running(tmp_path / "cluster", 2, Ports(0, "127.0.0.1"), [settings]) as one:
        yield one


async def post(proxy: Registry, path: str, document: Any) -> Answer:
    return await proxy("POST", path, json.dumps(document).encode())


async def held(http: Http, cluster: Cluster, *blobs: bytes) -> list[bool]:
    """Which blobs the origin has; nothing is fetched for the question."""
    found = []
    for blob in blobs:
        url = f"http://{cluster.origin.address}/namespace/{UPSTREAM}/team/web/blobs"
        try:
            reply = await http.call("HEAD", f"{url}/{Digest.of(blob)}")
            found.append(int(reply.headers["Content-Length"]) == len(blob))
        except NotFound:
            found.append(False)
    return found


async def test_after_a_prefetch_the_origins_hold_all_of_the_image(
    http: Http, cluster: Cluster, proxy: Registry
) -> None:
    assert await held(http, cluster, IMAGE, *LAYERS) == [False, False, False]
    answer = await post(proxy, V1, {"tag": f"{UPSTREAM}/team/web:v1", "trace_id": "t-1"})
    assert answer.status == 200
    told = answer.json
    assert (told["prefetched"], told["trace_id"]) == (True, "t-1")
    assert (told["repository"], told["digest"]) == (f"{UPSTREAM}/team/web", str(Digest.of(IMAGE)))
    parts = (IMAGE, b"{}", *LAYERS)
    assert told["bytes"] == sum(map(len, parts))
    assert {row["digest"]: row["size"] for row in told["blobs"]} == {
        str(Digest.of(one)): len(one) for one in parts
    }
    assert await held(http, cluster, *parts) == [True] * 4


async def test_only_blobs_within_the_asked_sizes_are_fetched(
    http: Http, cluster: Cluster, proxy: Registry
) -> None:
    window = {"min_blob_size": 1000, "max_blob_size": 10_000}
    answer = await post(proxy, V2, {"tag": f"{UPSTREAM}/team/web:v1", **window})
    assert answer.status == 200
    assert await held(http, cluster, IMAGE, b"{}", *LAYERS) == [True, False, True, False]


async def test_a_prefetch_has_chosen_agents_fetch_it_too(
    http: Http, cluster: Cluster, proxy: Registry
) -> None:
    asked = {"tag": f"{UPSTREAM}/team/web:v1", "agents": {"agent": "2"}}
    answer = await post(proxy, V1, asked)
    assert answer.status == 200
    client = PreheatClient(http, [cluster.tracker.address])

    async def done() -> bool:
        return (await client.standing(answer.json["preheat"])).done == 1

    await until(done, WAIT_S)
    counts = []
    for agent in cluster.agents:
        status = await http.json("GET", f"http://{agent.address}/status", dict[str, Any])
        counts.append(len(status["blobs"]))
    assert counts == [0, 4]


async def test_a_proxy_without_trackers_says_so(cluster: Cluster) -> None:
    config = ProxyConfig(origins=[cluster.origin.address], tag_indexes=[cluster.tag_index.address])
    async with started(run_proxy, config) as one, aiohttp.ClientSession() as session:
        answer = await post(Registry(session, one.address), V1, {"tag": "a:v1", "agents": {}})
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert "proxy.trackers" in answer.body.decode()


@pytest.mark.parametrize("host", ["", "localhost/", "registry.example:5000/", "registry.example/"])
async def test_images_are_found_with_and_without_a_host(proxy: Registry, host: str) -> None:
    await proxy.push_image("a/b", "v1")
    answer = await post(proxy, V1, {"tag": f"{host}a/b:v1"})
    assert (answer.status, answer.json["repository"]) == (200, "a/b")


async def test_what_is_nowhere_is_not_found(
    proxy: Registry, cluster: Cluster, tmp_path: Path
) -> None:
    for tag in ("never/pushed:v1", f"{UPSTREAM}/team/web:v9"):
        answer = await post(proxy, V1, {"tag": tag})
        assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
    layer = content(5000, 9)
    digest = await proxy.push_blob(layer, "a/b")
    await proxy.push_blob(b"{}", "a/b")
    assert (await proxy.push_manifest("a/b", "v1", manifest(b"{}", layer))).status == 201
    for path in (tmp_path / "cluster" / "origin" / "blobs").rglob(f"{digest.hex}*"):
        path.unlink()
    answer = await post(proxy, V1, {"tag": "a/b:v1"})
    assert answer.status == 404
    assert str(digest) in answer.body.decode()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"tag": 7}', b'{"tag": "no tag"}', b'{"tag": "a:b", "min_blob_size": -1}',
     b'{"tag": "a:b", "platforms": ["linux"]}', b'{"tag": "a:b", "min_blob_size": 2, "max_blob_size": 1}'],
)  # fmt: skip
async def test_what_is_no_prefetch_is_refused(proxy: Registry, body: bytes) -> None:
    answer = await proxy("POST", V1, body)
    assert answer.status == 400
    assert answer.json["errors"]


def envelope(*targets: dict[str, Any]) -> dict[str, Any]:
    host = {"host": UPSTREAM}
    return {"events": [{"action": "push", "target": one, "request": host} for one in targets]}


def webhook(repository: str, tag: str) -> dict[str, Any]:
    name = f"{UPSTREAM}/{repository}:{tag}"
    resource = {"digest": str(Digest.of(IMAGE)), "tag": tag, "resource_url": name}
    return {
        "type": "PUSH_ARTIFACT",
        "event_data": {"resources": [resource], "repository": {"repo_full_name": repository}},
    }


@pytest.mark.parametrize(
    "told",
    [
        envelope({"mediaType": MediaType.OCI_MANIFEST, "repository": "team/web", "tag": "v1"}),
        # Those that fail do not keep the next from its turn.
        envelope(
            *[{"mediaType": MediaType.OCI_MANIFEST, "repository": f"no/{n}", "tag": "v1"}
              for n in range(WORKERS + 1)],
            {"mediaType": MediaType.OCI_MANIFEST, "repository": "team/web",
             "digest": str(Digest.of(IMAGE))},
        ),
        webhook("team/web", "v1"),
    ],
    ids=["distribution", "after-a-failure", "harbor"],
)  # fmt: skip
async def test_what_a_registry_says_was_pushed_is_prefetched(
    http: Http, cluster: Cluster, proxy: Registry, told: dict[str, Any]
) -> None:
    answer = await post(proxy, "/registry/notifications", told)
    assert answer.status == 202
    assert answer.json["accepted"] == len(told.get("events", [None]))

    async def there() -> bool:
        return all(await held(http, cluster, IMAGE, b"{}", *LAYERS))

    await until(there, WAIT_S)


async def test_what_is_no_notification_is_refused_and_other_news_is_not(proxy: Registry) -> None:
    for body in (b"", b"[]", b"{}", b'{"events": 1}', b'{"events": [{"action": "push"}]}'):
        answer = await proxy("POST", "/registry/notifications", body)
        assert answer.status == 400, body
        assert answer.json["errors"]
    many = {"events": [{"action": "pull"}] * 1001}
    assert (await post(proxy, "/registry/notifications", many)).status == 400
    other: list[dict[str, Any]] = [
        {"events": []},
        {"events": [{"action": "pull"}]},
        {"type": "DELETE_ARTIFACT"},
    ]
    for news in other:
        answer = await post(proxy, "/registry/notifications", news)
        assert (answer.status, answer.json) == (202, {"accepted": 0})
