"""Copies that are lost come back by themselves, and nobody who reads meanwhile notices."""

import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from octopull.clients.holdings import Kind, holdings
from octopull.clients.origin import OriginCluster
from octopull.config.backends import BackendSettings
from octopull.config.services import RepairSettings
from octopull.http.client import Http
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import NotFound
from octopull.observability import metrics
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads
from support.cluster import content
from support.origins import holders, origin
from support.ports import free_port, free_ports
from support.waiting import until

REPLICAS, NAMESPACE = 2, "ns"
OFTEN = RepairSettings(every_s=0.1, settle_s=0.0, bytes_per_s=None)
NEVER = RepairSettings(every_s=0.0)
WITHIN_S = 30.0
DAY_NS = 86400 * 10**9


@pytest.fixture
def ring() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


@asynccontextmanager
async def origins(
    folder: Path, names: Sequence[str], ring: list[str], repair: RepairSettings
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(origin(folder, name, ring, REPLICAS, repair=repair))
        yield


async def push_all(http: Http, ring: list[str], blobs: Sequence[bytes]) -> None:
    cluster = OriginCluster(http, ring, REPLICAS)
    for blob in blobs:
        await cluster.uploads.push(NAMESPACE, Digest.of(blob), blob)


async def owners_hold(http: Http, ring: list[str], blobs: Sequence[bytes]) -> bool:
    cluster = OriginCluster(http, ring, REPLICAS)
    for digest in map(Digest.of, blobs):
        if not set(cluster.owners(digest)) <= await holders(http, ring, digest):
            return False
    return True


def stored(root: Path, blob: bytes, *, lone: bool = False, at_ns: int | None = None) -> Digest:
    """``blob`` in the folder of an origin that isn't running."""
    uploads = Uploads(DiskStore(root))
    session, digest = uploads.start(), Digest.of(blob)
    uploads.append(session, 0, blob)
    uploads.commit(session, digest, lone=lone, touched_ns=at_ns)
    return digest


async def test_an_empty_disk_is_filled_and_reads_go_on_meanwhile(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blobs = [content(size, size) for size in (0, 1, 300_000, 5_000_000, *range(2000, 2060))]
    async with origins(tmp_path, ring, ring, NEVER):
        await push_all(http, ring, blobs)
    shutil.rmtree(tmp_path / ring[0])
    async with origins(tmp_path, ring, ring, OFTEN):
        cluster = OriginCluster(http, ring, REPLICAS)

        async def filled() -> bool:
            for blob in blobs[::7]:
                assert await cluster.read(NAMESPACE, Digest.of(blob), len(blob)) == blob
            return await owners_hold(http, ring, blobs)

        await until(filled, WITHIN_S)


async def test_a_new_origin_gets_what_it_owns_and_no_more(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blobs = [content(size, size) for size in range(1000, 1040)]
    async with origins(tmp_path, ring[:2], ring[:2], NEVER):
        await push_all(http, ring[:2], blobs)
    async with origins(tmp_path, ring, ring, OFTEN):
        await until(lambda: owners_hold(http, ring, blobs), WITHIN_S)
        new = [one for one in map(Digest.of, blobs)
               if ring[2] in OriginCluster(http, ring, REPLICAS).owners(one)]  # fmt: skip
        assert 0 < len(new) < len(blobs)
        held = [entry.digest for entry in DiskStore(tmp_path / ring[2]).entries()]
        assert sorted(held, key=str) == sorted(new, key=str)


async def test_what_none_of_its_owners_has_comes_from_who_owned_it_before(
    http: Http, tmp_path: Path
) -> None:
    ring = [f"127.0.0.1:{port}" for port in free_ports(4)]
    cluster = OriginCluster(http, ring, REPLICAS)
    # Who owns what depends on the ports: of so many, some blob moves to the other two.
    many = [content(size, size) for size in range(1000, 1500)]
    moved = [one for one in many if set(cluster.owners(Digest.of(one))) == set(ring[2:])]
    blobs = [*many[:30], *moved[:1]]
    async with origins(tmp_path, ring[:2], ring[:2], NEVER):
        await push_all(http, ring[:2], blobs)
    assert any(set(cluster.owners(one)) == set(ring[2:]) for one in map(Digest.of, blobs))
    async with origins(tmp_path, ring, ring, OFTEN):
        await until(lambda: owners_hold(http, ring, blobs), WITHIN_S)


async def test_a_copy_is_as_old_and_as_lone_as_what_it_is_made_from(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    pair = ring[:2]
    at_ns = time.time_ns() - DAY_NS
    garbage = stored(tmp_path / pair[0], b"garbage", at_ns=at_ns)
    lone = stored(tmp_path / pair[0], b"for its own sake", lone=True, at_ns=at_ns)
    async with origins(tmp_path, pair, pair, OFTEN):

        async def copied() -> bool:
            return await holders(http, pair, garbage) & await holders(http, pair, lone) == set(pair)

        await until(copied, WITHIN_S)
    copies = {entry.digest: entry for entry in DiskStore(tmp_path / pair[1]).entries()}
    assert copies[lone].lone
    assert not copies[garbage].lone
    for entry in copies.values():
        assert abs(entry.touched_s - at_ns / 1e9) < WITHIN_S


async def test_what_came_just_now_is_left_to_who_pushes_it(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    pair = ring[:2]
    old = stored(tmp_path / pair[0], b"old", at_ns=time.time_ns() - DAY_NS)
    new = stored(tmp_path / pair[0], b"new")
    settled = RepairSettings(every_s=0.1, settle_s=3600.0)
    async with origins(tmp_path, pair, pair, settled):

        async def copied() -> bool:
            return await holders(http, pair, old) == set(pair)

        await until(copied, WITHIN_S)
        assert await holders(http, pair, new) == {pair[0]}


async def test_a_copy_that_came_while_a_clock_was_ahead_is_not_waited_for(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    pair = ring[:2]
    ahead = stored(tmp_path / pair[0], b"tomorrow", at_ns=time.time_ns() + DAY_NS)
    settled = RepairSettings(every_s=0.1, settle_s=60.0)
    async with origins(tmp_path, pair, pair, settled):

        async def copied() -> bool:
            return await holders(http, pair, ahead) == set(pair)

        await until(copied, WITHIN_S)


async def test_bytes_that_the_other_disk_damaged_are_not_taken(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    pair = ring[:2]
    damaged = stored(tmp_path / pair[0], content(5_000_000, 1))
    sound = stored(tmp_path / pair[0], content(5_000_000, 2))
    with DiskStore(tmp_path / pair[0]).path(damaged).open("r+b") as file:
        file.write(b"damage")
    before = generate_latest(metrics.REPAIRS_FAILED)

    async def tried() -> bool:
        return generate_latest(metrics.REPAIRS_FAILED) != before

    async with origins(tmp_path, pair, pair, OFTEN):

        async def copied() -> bool:
            return await holders(http, pair, sound) == set(pair)

        await until(copied, WITHIN_S)

        await until(tried, WITHIN_S)
        # Nobody has it now; what is left of it lies aside.
        assert await holders(http, pair, damaged) == set()
        assert DiskStore(tmp_path / pair[0]).aside(damaged).exists()
    assert not list((tmp_path / pair[1] / "uploads").iterdir())


async def test_what_a_disk_damaged_is_found_and_made_again(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    pair, rarely = ring[:2], RepairSettings(every_s=3600.0, settle_s=0.0)
    blob = content(5_000_000, 1)
    for name in pair:
        digest = stored(tmp_path / name, blob)
    with DiskStore(tmp_path / pair[0]).path(digest).open("r+b") as file:
        file.write(b"damage")
    async with origins(tmp_path, pair, pair, rarely):
        store = DiskStore(tmp_path / pair[0])

        async def mended() -> bool:
            return store.damaged_root.exists() and await holders(http, pair, digest) == set(pair)

        await until(mended, WITHIN_S)
        assert store.read(digest, len(blob)) == blob


async def test_filling_keeps_to_its_limit(http: Http, ring: list[str], tmp_path: Path) -> None:
    pair, rate = ring[:2], 4_000_000
    blobs = [stored(tmp_path / pair[0], content(1_000_000, seed)) for seed in range(6)]
    slow = RepairSettings(every_s=0.1, settle_s=0.0, bytes_per_s=rate)
    async with origins(tmp_path, pair[:1], pair, NEVER):
        started_s = time.monotonic()
        async with origins(tmp_path, pair[1:], pair, slow):

            async def copied() -> bool:
                return all([await holders(http, pair, one) == set(pair) for one in blobs])

            await until(copied, WITHIN_S)
            # What is in flight when the last is paid for comes on top.
            assert time.monotonic() - started_s > 0.8 * len(blobs) * 1_000_000 / rate


async def test_a_copy_takes_over_what_its_backend_is_still_owed(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    pair = ring[:2]
    nobody = free_port()
    backend = BackendSettings(url=f"registry+http://127.0.0.1:{nobody}/mirror", name="away")

    async def pending(host: str) -> int:
        told = await http.json("GET", f"http://{host}/write-back", dict)
        return int(told["pending"])

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            origin(tmp_path, pair[0], pair, 2, repair=NEVER, backends=[backend])
        )
        async with origin(tmp_path, pair[1], pair, 2, repair=NEVER, backends=[backend]):
            await push_all(http, pair, [b"owed"])
            assert await pending(pair[1]) == 1
        shutil.rmtree(tmp_path / pair[1])
        await stack.enter_async_context(
            origin(tmp_path, pair[1], pair, 2, repair=OFTEN, backends=[backend])
        )

        async def owes() -> bool:
            return await pending(pair[1]) == 1

        await until(owes, WITHIN_S)
        assert await holders(http, pair, Digest.of(b"owed")) == set(pair)


async def test_what_a_backend_has_is_not_copied_again(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    pair = ring[:2]
    evicted = stored(tmp_path / pair[0], b"elsewhere, too")
    DiskStore(tmp_path / pair[0]).mark_backed(evicted, NAMESPACE)
    only = stored(tmp_path / pair[0], b"only here")
    async with origins(tmp_path, pair, pair, OFTEN):

        async def copied() -> bool:
            return await holders(http, pair, only) == set(pair)

        await until(copied, WITHIN_S)
        for kind in ("shared", "stray"):
            url = f"http://{pair[0]}/internal/holdings/{pair[1]}?kind={kind}"
            told = await http.json("GET", url, dict)
            assert [one["digest"] for one in told["blobs"]] == [str(only)] * (kind == "shared")


async def test_both_algorithms_are_compared_and_pages_follow_each_other(
    http: Http, ring: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("clients.holdings", "services.origin.inventory"):
        monkeypatch.setattr(f"octopull.{module}.PAGE", 3)
    pair, store = ring[:2], DiskStore(tmp_path / ring[0])
    digests = []
    for number in range(20):
        blob = content(100, number)
        digests.append(Digest.of(blob, list(Algorithm)[number % 2]))
        store.put(digests[-1], blob)
    async with origins(tmp_path, pair, pair, OFTEN):

        async def copied() -> bool:
            return all([await holders(http, pair, one) == set(pair) for one in digests])

        await until(copied, WITHIN_S)
        pages = holdings(http, pair[1], pair[0], Kind.SHARED)
        told = [one.digest async for page in pages for one in page]
        assert told == sorted(map(str, digests))


@pytest.mark.parametrize("path", ["fingerprints/nobody:1", "holdings/nobody:1?kind=shared"])
async def test_strangers_are_told_nothing(
    http: Http, ring: list[str], tmp_path: Path, path: str
) -> None:
    async with origin(tmp_path, ring[0], ring[:1], 1):
        with pytest.raises(NotFound):
            await http.call("GET", f"http://{ring[0]}/internal/{path}")
