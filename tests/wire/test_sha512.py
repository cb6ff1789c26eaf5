"""Content named by its SHA-512, from the push through a proxy to the pull from an agent."""

import hashlib
import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.layout import NAME, Layout, LayoutEntry
from octopull.clients import registry as client
from octopull.http.client import Http
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import Corrupt
from octopull.oci.manifests import MediaType
from support.cluster import OCTOPULL, content, up
from support.registry import CONFIG, LAYER, Registry, descriptor, digest_of
from support.servers.front import listening

BY = "sha512"
BLOB = content(3 << 20, 512)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 2, Ports(0, "127.0.0.1")) as one:
        yield one


@pytest.fixture
def proxy(cluster: Cluster, session: aiohttp.ClientSession) -> Registry:
    return Registry(session, cluster.proxy.address)


def image(*layers: bytes) -> bytes:
    """A manifest all of whose descriptors are by SHA-512."""
    document = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": descriptor(b"{}", CONFIG, BY),
        "layers": [descriptor(layer, LAYER, BY) for layer in layers],
    }
    return json.dumps(document).encode()


async def push(proxy: Registry, *blobs: bytes) -> None:
    for blob in blobs:
        answer = await proxy("POST", f"/v2/a/b/blobs/uploads/?digest={digest_of(blob, BY)}", blob)
        assert answer.status == 201, answer
        assert answer.headers["Docker-Content-Digest"] == digest_of(blob, BY)


def stored(folder: Path) -> list[str]:
    return [path.name for path in (folder / "origin" / "blobs").rglob("*") if path.is_file()]


async def test_a_blob_and_its_manifest_reach_two_agents(
    proxy: Registry, cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    manifest = image(BLOB)
    await push(proxy, b"{}", BLOB)
    for reference in (digest_of(manifest, BY), "v1"):
        answer = await proxy.push_manifest("a/b", reference, manifest)
        assert answer.status == 201, answer
    agents = [Registry(session, one.address) for one in cluster.agents]
    for registry in (proxy, *agents):
        for content_, path in (
            (manifest, f"manifests/{digest_of(manifest, BY)}"),
            (manifest, f"manifests/{digest_of(manifest)}"),
            (manifest, "manifests/v1"),
            (BLOB, f"blobs/{digest_of(BLOB, BY)}"),
            (b"{}", f"blobs/{digest_of(b'{}', BY)}"),
        ):
            answer = await registry("GET", f"/v2/a/b/{path}")
            assert (answer.status, answer.body == content_) == (200, True), path
            named = path.rpartition("/")[2]
            if ":" in named:
                assert answer.headers["Docker-Content-Digest"] == named
        assert (await registry("GET", f"/v2/a/b/blobs/{digest_of(BLOB)}")).code == "BLOB_UNKNOWN"
    for agent in agents:
        received = (await agent("GET", "/status")).json["received"]
        assert sum(row["bytes"] for row in received) == len(BLOB)


async def test_a_wrong_digest_is_refused_and_nothing_stored(
    proxy: Registry, tmp_path: Path
) -> None:
    wrong = digest_of(b"other", BY)
    answer = await proxy("POST", f"/v2/a/b/blobs/uploads/?digest={wrong}", BLOB)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert not stored(tmp_path)
    await push(proxy, b"{}")
    before = stored(tmp_path)
    answer = await proxy.push_manifest("a/b", wrong, image())
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert stored(tmp_path) == before
    assert not list((tmp_path / "origin" / "uploads").iterdir())


async def test_an_algorithm_that_nobody_knows_is_refused_by_name(proxy: Registry) -> None:
    unknown = f"sha384:{hashlib.sha384(b'x').hexdigest()}"
    for path in (f"blobs/{unknown}", f"manifests/{unknown}"):
        answer = await proxy("GET", f"/v2/a/b/{path}")
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
        assert "sha256 or sha512" in answer.json["errors"][0]["message"]


async def test_a_registry_that_sends_another_manifest_is_not_believed(http: Http) -> None:
    async def lie(_: web.Request) -> web.Response:
        return web.Response(body=b"other")

    app = web.Application()
    app.router.add_get("/v2/{rest:.*}", lie)
    async with listening(web.AppRunner(app)) as address:
        registry = client.Registry(http, f"http://{address}", "a/b")
        right = Digest.of(b"other", Algorithm.SHA512)
        assert await registry.manifest(str(right)) == (right, b"other")
        for algorithm in Algorithm:
            with pytest.raises(Corrupt):
                await registry.manifest(str(Digest.of(b"asked for", algorithm)))


def octopull(*words: str | Path) -> str:
    """The command's last line."""
    done = subprocess.run(
        [OCTOPULL, *words], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.splitlines()[-1]


def test_a_layout_is_pushed_and_pulled_by_the_command(tmp_path: Path) -> None:
    manifest = image(BLOB)
    child = descriptor(manifest, MediaType.OCI_MANIFEST, BY)
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX, "manifests": [child]}
    ).encode()
    top = Digest.of(index, Algorithm.SHA512)
    layout = Layout(tmp_path / "in")
    for blob in (b"{}", BLOB, manifest, index):
        layout.room(Digest.of(blob, Algorithm.SHA512)).write_bytes(blob)
    layout.seal(LayoutEntry(MediaType.OCI_INDEX, str(top), len(index), {NAME: "v1"}))
    with up(tmp_path / "cluster", "--agents", "1") as cluster:
        agent = f"http://{cluster['agents'][0]['http']}"
        told = octopull("push", layout.root, "a/b:v1", "--to", f"http://{cluster['proxy']}")
        assert told == f"a/b:v1@{top}"
        told = octopull("pull", "a/b:v1", tmp_path / "out", "--from", agent)
        assert told == f"a/b:v1@{Digest.of(index)}"
        with urllib.request.urlopen(f"{agent}/v2/a/b/manifests/{top}") as answer:
            assert answer.read() == index
    pulled = Layout(tmp_path / "out")
    assert pulled.manifest(Digest.of(index)) == index
    for blob in (b"{}", BLOB, manifest):
        assert pulled.blob(Digest.of(blob, Algorithm.SHA512)).read_bytes() == blob
