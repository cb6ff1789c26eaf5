"""Blobs of one piece: they come with the manifest's answer, not through a swarm."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.registry import Registry
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.oci.manifests import MediaType
from support.cluster import content

KIB = 1024


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 2, Ports(0, "127.0.0.1")) as one:
        yield one


async def push_image(http: Http, cluster: Cluster, blobs: list[bytes]) -> None:
    registry = Registry(http, cluster.proxy.url, "small")
    for blob in blobs:

        async def body(blob: bytes = blob) -> AsyncIterator[bytes]:
            yield blob

        session = await registry.start_upload()
        session = await registry.append(session, 0, len(blob), body())
        await registry.commit(session, Digest.of(blob))
    described = [
        {"mediaType": "application/octet-stream", "digest": str(Digest.of(b)), "size": len(b)}
        for b in blobs
    ]
    manifest = {"schemaVersion": 2, "mediaType": MediaType.OCI_MANIFEST.value,
                "config": described[0], "layers": described[1:]}  # fmt: skip
    await registry.put_manifest("v1", MediaType.OCI_MANIFEST.value, json.dumps(manifest).encode())


async def received(http: Http, agent: str) -> int:
    status = await http.json("GET", f"http://{agent}/status", dict)
    return sum(row["bytes"] for row in status["received"])


async def test_small_layers_come_without_a_swarm_and_large_ones_through_it(
    http: Http, cluster: Cluster
) -> None:
    blobs = [content(size, size) for size in (100, 10 * KIB, 256 * KIB, 256 * KIB + 1)]
    await push_image(http, cluster, blobs)
    agent = cluster.agents[0].address
    registry = Registry(http, f"http://{agent}", "small")
    await registry.manifest("v1")
    for blob in blobs:
        async with registry.blob(Digest.of(blob), 0) as response:
            assert await response.read() == blob
    assert await received(http, agent) == len(blobs[-1])


async def test_ranges_and_heads_of_small_blobs(http: Http, cluster: Cluster) -> None:
    blob = content(50_000, 1)
    await push_image(http, cluster, [blob])
    url = f"{cluster.agents[0].url}/v2/small/blobs/{Digest.of(blob)}"
    part = await http.call("GET", url, headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, blob[100:200])
    assert part.headers["Content-Range"] == "bytes 100-199/50000"
    head = await http.call("HEAD", url)
    assert head.headers["Content-Length"] == "50000"


async def test_a_small_blob_is_cached_and_can_be_deleted(http: Http, cluster: Cluster) -> None:
    blob = content(50_000, 2)
    await push_image(http, cluster, [blob])
    agent = cluster.agents[0].url
    url = f"{agent}/v2/small/blobs/{Digest.of(blob)}"
    assert (await http.call("GET", url)).body == blob
    for _ in range(200):
        status = await http.json("GET", f"{agent}/status", dict)
        if any(row["digest"] == str(Digest.of(blob)) for row in status["blobs"]):
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("never reached the cache")
    await http.call("DELETE", f"{agent}/blobs/{Digest.of(blob)}")
    assert (await http.call("GET", url)).body == blob


async def test_a_small_blob_deleted_before_the_disk_has_it_stays_deleted(
    http: Http, cluster: Cluster, tmp_path: Path
) -> None:
    blob = content(20_000, 5)
    await push_image(http, cluster, [blob])
    agent = cluster.agents[0].url
    for _ in range(5):
        await http.call("GET", f"{agent}/v2/small/blobs/{Digest.of(blob)}")
        await http.call("DELETE", f"{agent}/blobs/{Digest.of(blob)}")
        await asyncio.sleep(0.06)  # past the moment at which it would have been written
    assert not list((tmp_path / "agent-1" / "blobs").rglob(Digest.of(blob).hex))


async def test_callers_at_once_share_one_answer(http: Http, cluster: Cluster) -> None:
    blob = content(9_000, 3)
    await push_image(http, cluster, [blob])
    url = f"{cluster.agents[1].url}/v2/small/blobs/{Digest.of(blob)}"
    replies = await asyncio.gather(*(http.call("GET", url) for _ in range(20)))
    assert {reply.body for reply in replies} == {blob}


async def test_a_blob_that_is_being_seeded_can_be_deleted(http: Http, cluster: Cluster) -> None:
    blob = content(600 * KIB, 4)
    await push_image(http, cluster, [blob])
    agent = cluster.agents[0].url
    for _ in range(2):
        reply = await http.call("GET", f"{agent}/v2/small/blobs/{Digest.of(blob)}")
        assert reply.body == blob
        await http.call("DELETE", f"{agent}/blobs/{Digest.of(blob)}")
    with pytest.raises(NotFound):
        await http.call("DELETE", f"{agent}/blobs/{Digest.of(blob)}")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"digests": ["x"]}', b"\xff", b'{"digests": 1}'])
async def test_questions_that_make_no_sense_are_refused(
    http: Http, cluster: Cluster, body: bytes
) -> None:
    for host in (cluster.tracker, cluster.origin):
        with pytest.raises(Misuse):
            await http.call("POST", f"{host.url}/namespace/ns/starts", data=body)


async def test_blobs_that_nobody_has_are_left_out_of_the_answer(
    http: Http, cluster: Cluster
) -> None:
    question = json.dumps({"digests": [f"sha256:{'0' * 64}"]}).encode()
    for host in (cluster.tracker, cluster.origin):
        reply = await http.call("POST", f"{host.url}/namespace/ns/starts", data=question)
        assert reply.body == b""
