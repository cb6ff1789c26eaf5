"""What an origin holds and does not own leaves once all owners have it, and never before."""

import operator
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from octopull.clients.origin import OriginCluster
from octopull.config.services import RepairSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.services.origin.carrying import prefix
from octopull.services.origin.ring import Ring
from octopull.services.origin.strays import Strays
from octopull.storage.disk import DiskStore
from octopull.storage.task_queue import TaskQueue
from octopull.storage.task_table import NewTask
from support.cluster import content
from support.origins import holders, origin
from support.ports import free_ports
from support.waiting import until

REPLICAS = 2
NEVER = RepairSettings(every_s=0.0)
OFTEN = RepairSettings(every_s=0.1, settle_s=0.0)
NOW = RepairSettings(settle_s=0.0)


@pytest.fixture
def ring() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


def owned_by_others(ring: list[str]) -> bytes:
    """A blob that the last of ``ring`` does not own."""
    blobs = (content(50_000, seed) for seed in range(1000))
    others = Ring(ring, ring[2], REPLICAS)
    return next(blob for blob in blobs if ring[2] not in others.owners(Digest.of(blob)))


@asynccontextmanager
async def others(
    folder: Path, ring: list[str], told: list[str] | None = None
) -> AsyncIterator[None]:
    """All of ``ring`` but the last, which the test is; they do nothing by themselves."""
    async with AsyncExitStack() as stack:
        for name in ring[:2]:
            one = origin(folder, name, told or ring, REPLICAS, repair=NEVER)
            await stack.enter_async_context(one)
        yield


async def clear(http: Http, folder: Path, ring: list[str], settings: RepairSettings = NOW) -> None:
    """As the last of ``ring`` does, with its store in ``folder/ours``."""
    store = DiskStore(folder / "ours")
    async with TaskQueue(folder / "tasks.sqlite") as queue:
        await Strays(http, store, Ring(ring, ring[2], REPLICAS), queue, settings).clear()


def kept(folder: Path, blob: bytes) -> DiskStore:
    """The store of the last of a ring, with ``blob``."""
    store = DiskStore(folder / "ours")
    store.put(Digest.of(blob), blob)
    return store


def touched(folder: Path, ring: list[str], digest: Digest) -> list[float]:
    """When each owner's copy was, in seconds."""
    entries = [DiskStore(folder / name).entry(digest) for name in ring[:2]]
    found = [entry.touched_s for entry in entries if entry]
    assert len(found) == REPLICAS
    return found


async def test_pushes_through_any_origin_end_on_their_owners_alone(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blobs = [content(50_000, seed) for seed in range(12)]
    cluster = OriginCluster(http, ring, REPLICAS)
    async with AsyncExitStack() as stack:
        for name in ring:
            one = origin(tmp_path, name, ring, REPLICAS, repair=OFTEN)
            await stack.enter_async_context(one)
        for blob in blobs:
            await cluster.uploads.push("ns", Digest.of(blob), blob)

        async def owners_alone() -> bool:
            return all(
                [await holders(http, ring, digest) == set(cluster.owners(digest))
                 for digest in map(Digest.of, blobs)]
            )  # fmt: skip

        await until(owners_alone, 30)


async def test_a_stray_stays_until_the_last_owner_has_it_which_is_touched(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blob = owned_by_others(ring)
    digest, store = Digest.of(blob), kept(tmp_path, blob)
    async with others(tmp_path, ring):
        await clear(http, tmp_path, ring)
        assert store.has(digest)
        await OriginCluster(http, ring[:1], 1).uploads.push("ns", digest, blob)
        before = touched(tmp_path, ring, digest)
        await clear(http, tmp_path, ring)
        assert not store.has(digest)
        assert all(map(operator.gt, touched(tmp_path, ring, digest), before))


async def test_nothing_goes_while_an_owner_is_away(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blob = owned_by_others(ring)
    store = kept(tmp_path, blob)
    async with origin(tmp_path, ring[0], ring, REPLICAS, repair=NEVER):
        with pytest.raises(Unavailable):
            await clear(http, tmp_path, ring)
    assert store.has(Digest.of(blob))


async def test_nothing_goes_while_another_origin_was_told_of_another_ring(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blob = owned_by_others(ring)
    digest, store = Digest.of(blob), kept(tmp_path, blob)
    async with others(tmp_path, ring, told=ring[:2]):
        await OriginCluster(http, ring[:1], 1).uploads.push("ns", digest, blob)
        await clear(http, tmp_path, ring)
    assert store.has(digest)


async def test_what_was_touched_lately_is_lone_or_waits_for_a_backend_stays(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blob = owned_by_others(ring)
    digest, store = Digest.of(blob), kept(tmp_path, blob)
    async with others(tmp_path, ring):
        await OriginCluster(http, ring[:1], 1).uploads.push("ns", digest, blob)
        await clear(http, tmp_path, ring, RepairSettings(settle_s=60))
        assert store.has(digest)
        async with TaskQueue(tmp_path / "tasks.sqlite") as queue:
            await queue.add(NewTask(lane="a", key=f"{prefix(digest)}ns", payload="ns", due_s=0))
        await clear(http, tmp_path, ring)
        assert store.has(digest)
        (tmp_path / "tasks.sqlite").unlink()
        store.keep(digest, lone=True)
        await clear(http, tmp_path, ring)
        assert store.has(digest)
        store.release(digest)
        await clear(http, tmp_path, ring)
        assert not store.has(digest)
