"""Short runs of chaos, and faults planted on purpose, which must be told.

``make faults ARGS="--seeds 100"`` runs long ones.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from octopull.http.client import Http
from octopull.kernel.digest import Digest
from support import toxic
from support.chaos import client, drives, verdict
from support.chaos.books import Books
from support.chaos.client import Client, Noted, Target
from support.chaos.disks import Disks, blob_file
from support.chaos.drives import Drive
from support.chaos.forks import Forks
from support.chaos.history import History, Outcome, Tag
from support.chaos.lab import lacking
from support.chaos.likeness import differing
from support.chaos.run import SHAPE, run
from support.images import Image
from support.production import Production, Shape, production
from support.toxic import Toxic

TAG = Tag("team/app", "v1")
SMALL = SHAPE.having(agents=3)
ALONE = Shape(origins=1, agents=1, replicas=1)
LENGTH_S = 5.0


@pytest.mark.parametrize(("seed", "tag_indexes"), [(3, 3)])
async def test_nothing_is_lost_or_wrong_whatever_befalls_a_cluster(
    forks: Forks, tmp_path: Path, seed: int, tag_indexes: int
) -> None:
    if lacking():
        pytest.skip(f"no hosts for nodes here: needs {', '.join(lacking())}")
    shape = SMALL.having(tag_indexes=tag_indexes)
    told = await run(tmp_path, forks, seed, LENGTH_S, shape)
    assert told.verdict.good, "\n".join(told.verdict.sentences())
    assert told.mishaps.total() >= len(SMALL.counts)
    assert told.operations["pull done"]


def test_a_slowed_drive_does_less_until_it_is_quickened(tmp_path: Path) -> None:
    if os.geteuid() or drives.lacking():
        pytest.skip(f"no slow disks here: needs root {' '.join(drives.lacking())}")

    def written_s() -> float:
        started_s = time.monotonic()
        with (tmp_path / "disk" / "file").open("wb", buffering=0) as file:
            file.write(bytes(drives.SLOW_BYTES_PER_S // 2))
            os.fsync(file.fileno())
        return time.monotonic() - started_s

    with ExitStack() as stack:
        drive = Drive(tmp_path / "disk", stack)
        drive.slow()
        slow_s = written_s()
        drive.quicken()
        assert slow_s > 2 * written_s()
    assert not list((tmp_path / "disk").iterdir())


async def test_forks_are_told_apart_though_many_are_asked_for_at_once(
    forks: Forks, tmp_path: Path
) -> None:
    def code(number: int) -> int:
        word = "--version" if number % 2 else "no-such-verb"
        return forks.start(tmp_path / f"log-{number}", word).wait()

    codes = await asyncio.gather(*(asyncio.to_thread(code, number) for number in range(20)))
    assert codes == [2, 0] * 10


@pytest.fixture
async def noted() -> AsyncIterator[Noted]:
    async with client.session() as session:
        yield Noted(session, History(time.monotonic), Books())


def behind(front: Toxic) -> Target:
    return Target("agent-0", front.url.removeprefix("http://"))


async def pushed(noted: Noted, cluster: Production, seed: int) -> Image:
    image, proxy = noted.books.drawn(seed), cluster.proxies[0]
    assert (
        await Client("pusher", noted).push(Target(proxy.name, proxy.address), TAG, image)
        is Outcome.DONE
    )
    return image


async def test_an_older_digest_is_told_as_an_anomaly_with_its_story(
    http: Http, noted: Noted, forks: Forks, tmp_path: Path
) -> None:
    puller = Client("puller", noted)
    async with (
        production(tmp_path, http, ALONE, forks.place) as cluster,
        toxic.toxic(f"http://{cluster.agents[0].address}") as front,
    ):
        first = await pushed(noted, cluster, 1)
        await puller.pull(behind(front), TAG)
        await pushed(noted, cluster, 2)
        await puller.pull(behind(front), TAG)
        assert not verdict.anomalies(noted.history)
        digest, old = str(Digest.of(first.manifest)), first.manifest.decode()
        front.toxins.append(toxic.answers(200, {"Docker-Content-Digest": digest}, old))
        await puller.pull(behind(front), TAG)
    (told,) = verdict.anomalies(noted.history)
    assert f"read {digest} puller via agent-0" in told
    assert not noted.wrong


async def test_a_tag_that_is_gone_before_it_is_deleted_is_told_as_an_anomaly(
    http: Http, noted: Noted, forks: Forks, tmp_path: Path
) -> None:
    async with (
        production(tmp_path, http, ALONE, forks.place) as cluster,
        toxic.toxic(f"http://{cluster.proxies[0].address}") as front,
    ):
        await pushed(noted, cluster, 1)
        front.methods = frozenset({"DELETE"})
        front.toxins.append(toxic.answers(404))
        await Client("mover", noted).delete(behind(front), TAG)
    (told,) = verdict.anomalies(noted.history)
    assert "read None mover" in told


async def test_other_bytes_are_told_as_wrong(
    http: Http, noted: Noted, forks: Forks, tmp_path: Path
) -> None:
    async with (
        production(tmp_path, http, ALONE, forks.place) as cluster,
        toxic.toxic(f"http://{cluster.agents[0].address}") as front,
    ):
        image = await pushed(noted, cluster, 1)
        front.toxins.extend([toxic.flips(1 << 40)] * 2 + [toxic.flips(1000)])
        await Client("puller", noted).pull(behind(front), TAG)
    (told,) = noted.wrong
    assert str(Digest.of(image.blobs[1])) in told


async def test_a_blob_that_no_origin_has_is_told_as_lost(
    http: Http, noted: Noted, forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "HEALED_S", 5.0)
    async with production(tmp_path, http, Shape(agents=1), forks.place) as cluster:
        image = await pushed(noted, cluster, 1)
        gone = Digest.of(image.blobs[1])
        for node in cluster.origins:
            blob_file(node, gone).unlink()
        found = await verdict.judged(cluster, noted, Disks(cluster.origins, 2))
    assert [str(gone) in one for one in found.lost] == [True]
    assert len(found.unrepaired) == 2
    assert not found.anomalies


async def test_what_was_not_replicated_is_told_as_differing(
    http: Http, noted: Noted, forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "HEALED_S", 1.0)
    async with (
        production(tmp_path / "east", http, ALONE, forks.place) as east,
        production(tmp_path / "west", http, ALONE, forks.place) as west,
    ):
        image = await pushed(noted, east, 1)
        assert not await differing(noted, east, east)
        (lacking,) = await differing(noted, east, west)
        assert f"{TAG} is {image.manifest!r} at one, None at the other" in lacking
