"""Pushes to origins with a backend: acknowledged whatever it does, and written when it can."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from octopull.backends.layouts import blob_key, metainfo_key
from octopull.blob.metainfo import Metainfo
from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.keeping import OriginBlobs
from octopull.clients.origin import OriginCluster
from octopull.clients.write_back import WriteBackProgress, progress
from octopull.config.backends import BackendSettings, BlobLayout, WriteBackSettings
from octopull.config.services import CacheSettings, Listen, OriginConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.observability import metrics
from octopull.services.origin.app import run as run_origin
from support.cluster import OCTOPULL, content
from support.ports import free_ports
from support.registry import Registry, digest_of, manifest
from support.services import started
from support.waiting import until

SOON_S = 30.0
LAYERS = [content(size, size) for size in (3_000_000, 5_000, 70_000)]
CONFIG = b"{}"
IMAGE = manifest(CONFIG, *LAYERS)
REPOSITORY = "team/app"
AGENTS = 3
QUICK = WriteBackSettings(retry_s=0.1, retry_s_max=0.5, stagger_s=0.3)


class Store:
    """A folder as a backend, which can go away."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "store"
        self._away = folder / "away"
        self.root.mkdir()

    def settings(self, *, deletes: bool = False) -> BackendSettings:
        return BackendSettings(
            url=self.root.as_uri(), name="bucket", attempts_max=1, timeout_s=5, deletes=deletes
        )

    def leave(self) -> None:
        self.root.rename(self._away)
        self.root.write_text("no folder")

    def return_(self) -> None:
        self.root.unlink()
        self._away.rename(self.root)

    def path(self, digest: Digest) -> Path:
        return self.root / blob_key(BlobLayout.SHARDED_DOCKER_BLOB, digest)

    def check(self, blob: bytes) -> None:
        digest = Digest.of(blob)
        assert self.path(digest).read_bytes() == blob
        side = self.root / metainfo_key(BlobLayout.SHARDED_DOCKER_BLOB, digest)
        assert Metainfo.decode(side.read_bytes()).layout.size == len(blob)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


async def told(http: Http, origin: str) -> WriteBackProgress:
    return await progress(http, origin, 5)


async def all_written(http: Http, *origins: str) -> None:
    async def written() -> bool:
        return not sum([(await told(http, one)).pending for one in origins])

    await until(written, SOON_S)


async def status(cluster: Cluster) -> tuple[str, dict[str, object]]:
    """What the command prints of the origin: as a table, and as JSON."""
    origin = cluster.origin.address
    words = ["status", "--proxy", cluster.proxy.address, "--origin", origin,
             "--agent", cluster.agents[0].address]  # fmt: skip
    outputs = []
    for form in ([], ["--json"]):
        process = await asyncio.create_subprocess_exec(
            OCTOPULL, *words, *form, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        outputs.append((await process.communicate())[0].decode())
        assert process.returncode == 0
    rows = json.loads(outputs[1])
    return outputs[0], next(row["write_back"] for row in rows if row["address"] == origin)


async def test_a_push_and_swarm_pulls_succeed_while_the_backend_is_down_and_it_is_written_later(
    http: Http, store: Store, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    ports = Ports(0, "127.0.0.1")
    async with running(tmp_path / "a", AGENTS, ports, backend=store.settings()) as cluster:
        store.leave()
        proxy = Registry(session, cluster.proxy.address)
        for blob in (CONFIG, *LAYERS):
            await proxy.push_blob(blob, REPOSITORY)
        assert (await proxy.push_manifest(REPOSITORY, "v1", IMAGE)).status == 201

        async def pull(address: str) -> None:
            agent = Registry(session, address)
            assert (await agent("GET", f"/v2/{REPOSITORY}/manifests/v1")).body == IMAGE
            for blob in (CONFIG, *LAYERS):
                path = f"/v2/{REPOSITORY}/blobs/{digest_of(blob)}"
                assert (await agent("GET", path)).body == blob

        await asyncio.gather(*(pull(agent.address) for agent in cluster.agents))
        blobs = [CONFIG, *LAYERS, IMAGE]

        async def failing() -> bool:
            return bool((await told(http, cluster.origin.address)).backends[0].failing)

        await until(failing, SOON_S)
        now = await told(http, cluster.origin.address)
        assert now.pending == len(blobs)
        assert now.oldest_s > 0
        table, row = await status(cluster)
        assert "bucket" in table
        assert row["pending"] == len(blobs)
        store.return_()
        await all_written(http, cluster.origin.address)
        assert (await told(http, cluster.origin.address)).backends[0].failing == ""
        for blob in blobs:
            store.check(blob)


@asynccontextmanager
async def origins(
    folder: Path, backend: BackendSettings, count: int, cache: CacheSettings
) -> AsyncIterator[list[str]]:
    ring = [f"127.0.0.1:{port}" for port in free_ports(count)]
    async with AsyncExitStack() as stack:
        for name in ring:
            config = OriginConfig(
                data=str(folder / name), name=name, origins=ring, replicas=count,
                listen=Listen(port=int(name.rpartition(":")[2])), backends=[backend],
                write_back=QUICK, cache=cache,
            )  # fmt: skip
            await stack.enter_async_context(started(run_origin, config))
        yield ring


def written() -> float:
    return float(metrics.BACKEND_BLOBS_WRITTEN.labels("bucket")._value.get())


def blob_file(folder: Path, origin: str, digest: Digest) -> Path:
    return folder / origin / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex


def backed(path: Path) -> bool:
    return path.with_name(f"{path.name}.backed").exists()


async def push(http: Http, ring: Sequence[str], blob: bytes) -> Digest:
    digest = Digest.of(blob)
    await OriginCluster(http, list(ring), len(ring)).uploads.push(REPOSITORY, digest, blob)
    return digest


KEEP = CacheSettings(idle_s=0.0)


async def test_of_several_owners_one_writes_a_blob_and_all_know_it(
    http: Http, store: Store, tmp_path: Path
) -> None:
    before = written()
    async with origins(tmp_path, store.settings(), 3, KEEP) as ring:
        digests = [await push(http, ring, blob) for blob in LAYERS]
        await all_written(http, *ring)
        for digest in digests:
            assert all(backed(blob_file(tmp_path, one, digest)) for one in ring)
    for blob in LAYERS:
        store.check(blob)
    assert written() - before == len(LAYERS)


async def test_what_the_first_owner_could_not_write_another_writes(
    http: Http, store: Store, tmp_path: Path
) -> None:
    async with origins(tmp_path, store.settings(), 2, KEEP) as ring:
        digest = await push(http, ring, LAYERS[1])
        await all_written(http, *ring)
        store.path(digest).unlink()
        await push(http, ring, LAYERS[1])
        await all_written(http, *ring)
        store.check(LAYERS[1])


async def test_a_blob_that_was_evicted_is_read_from_the_backend_and_is_backed_again(
    http: Http, store: Store, tmp_path: Path
) -> None:
    quick = CacheSettings(idle_s=30.0, scan_s=0.1)
    async with origins(tmp_path, store.settings(), 1, quick) as ring:
        digest = await push(http, ring, LAYERS[0])
        await all_written(http, *ring)
        path = blob_file(tmp_path, ring[0], digest)
        long_ago_s = time.time() - 3600
        os.utime(path, (long_ago_s, long_ago_s))

        async def evicted() -> bool:
            return not list(path.parent.iterdir())

        await until(evicted, SOON_S)
        asked = await http.call(
            "POST", f"http://{ring[0]}/namespace/{REPOSITORY}/blobs/{digest}/fetch?wait_s=10&whole=1",
            timeout_s=20,
        )  # fmt: skip
        assert asked.status == 201
        assert path.read_bytes() == LAYERS[0]
        assert backed(path)


async def collect(http: Http, origin: str, digest: Digest) -> None:
    gone = await OriginBlobs(http, origin, str).collect([digest], time.time_ns() + 10**12)
    assert gone == {digest: len(LAYERS[1])}


async def test_the_last_origin_that_collects_a_blob_deletes_it_from_the_backend(
    http: Http, store: Store, tmp_path: Path
) -> None:
    async with origins(tmp_path, store.settings(deletes=True), 2, KEEP) as ring:
        digest = await push(http, ring, LAYERS[1])
        await all_written(http, *ring)
        await collect(http, ring[0], digest)
        assert store.path(digest).exists()
        assert not blob_file(tmp_path, ring[0], digest).exists()
        await collect(http, ring[1], digest)
        assert not blob_file(tmp_path, ring[1], digest).exists()
        assert not store.path(digest).exists()


async def test_without_deletes_a_collected_blob_stays_in_the_backend(
    http: Http, store: Store, tmp_path: Path
) -> None:
    async with origins(tmp_path, store.settings(), 1, KEEP) as ring:
        digest = await push(http, ring, LAYERS[1])
        await all_written(http, *ring)
        await collect(http, ring[0], digest)
        store.check(LAYERS[1])
