"""Blobs on their way from an origin's disk to a backend, and off the disk."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from octopull.backends.contract import BlobName
from octopull.blob.outline import Outline
from octopull.clients.write_back import BackendProgress
from octopull.config.backends import BackendSettings, WriteBackSettings
from octopull.config.services import CacheSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound, TooLarge, Unavailable, UpstreamFailed
from octopull.runtime.tasks import Tasks
from octopull.services.origin.caching import TOUCHED_S, Caching
from octopull.services.origin.carrying import prefix
from octopull.services.origin.copies import Copies
from octopull.services.origin.fetch import Fetcher
from octopull.services.origin.leaving import Leaving
from octopull.services.origin.refresh import Refresh
from octopull.services.origin.ring import Ring
from octopull.services.origin.sources import Sources
from octopull.services.origin.write_back import SMALL_BYTES, WriteBack
from octopull.storage.disk import DiskStore
from octopull.storage.task_queue import TaskQueue
from octopull.storage.task_table import Task
from octopull.storage.uploads import Uploads
from octopull.transport.seeds import GrowingSeed
from support.folder_backend import FolderBackend
from support.waiting import until

SOON_S = 20.0
NS = "team/app"
ME = "127.0.0.1:1"
NS_PER_S = 1_000_000_000
PROBES = 16
QUICK = WriteBackSettings(retry_s=0.05, retry_s_max=0.2, stagger_s=1000.0)


def no_seed(outline: Outline, fd: int, namespace: str) -> GrowingSeed:
    """Blobs of these tests are too small to be seeded while they come."""
    raise AssertionError(outline, fd, namespace)


@dataclass
class Rig:
    """An origin's parts, with ``backends`` by the first letter of the namespace's second part."""

    root: Path
    settings: Sequence[BackendSettings] = ()
    write_back_settings: WriteBackSettings = QUICK
    ring: Ring = field(default_factory=lambda: Ring([ME], ME))
    said: list[str] = field(default_factory=list)
    shift_s: float = 0.0
    nowhere: bool = False

    def __post_init__(self) -> None:
        self.store = DiskStore(
            self.root / "origin", lambda: time.time_ns() + int(self.shift_s * NS_PER_S)
        )
        self.backend = FolderBackend(self.root / "backend", self.said.append)
        self.settings = self.settings or [BackendSettings(url="file:///none", name="folder")]

    def of(self, namespace: str) -> FolderBackend | None:
        return None if self.nowhere or namespace.startswith("private/") else self.backend

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """An origin that starts, until it stops."""
        path = self.root / "origin" / "write-back.sqlite"
        async with TaskQueue(path) as self.queue, Tasks() as tasks, Http() as http:
            self.sources = Sources({}, self.of)
            self.write_back = WriteBack(
                self.queue, self.store, self.ring, self.sources, self.settings,
                self.write_back_settings,
            )  # fmt: skip
            await self.write_back.start(tasks)
            copies = Copies(http, self.store, self.ring)
            fetcher = Fetcher(self.store, Uploads(self.store), no_seed, 1 << 30)
            self.refresh = Refresh(
                self.store, fetcher, copies, self.sources, self.ring, http, tasks
            )  # fmt: skip
            self.leaving = Leaving(
                self.write_back, self.store, copies, self.refresh, self.sources
            )  # fmt: skip
            yield

    async def push(self, content: bytes, namespace: str = NS) -> Digest:
        digest = Digest.of(content)
        self.store.put(digest, content)
        async with self.write_back.owing(namespace, digest):
            pass
        return digest

    async def pending(self) -> int:
        return (await self.write_back.progress()).pending

    async def none_pending(self) -> None:
        async def none() -> bool:
            return not await self.pending()

        await until(none, SOON_S)

    async def task(self) -> Task:
        """The only one, taken or not."""
        (found,) = await self.queue.run(
            lambda table: [
                one for lane in table.counts() for one in table.due(lane.lane, float("inf"), 9)
            ]
        )
        return found

    async def reason(self) -> str:
        """Why the only task failed, once it has."""

        async def failed() -> bool:
            return bool((await self.task()).reason)

        await until(failed, SOON_S)
        return (await self.task()).reason

    def puts(self) -> list[str]:
        return [line for line in self.said if line.startswith("put ")]

    def backed(self) -> set[Digest]:
        return {entry.digest for entry in self.store.entries() if entry.backed}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * SMALL_BYTES + 7])
async def test_a_pushed_blob_reaches_the_backend_behind_its_metainfo(rig: Rig, size: int) -> None:
    content = b"x" * size
    async with rig.working():
        digest = await rig.push(content)
        await rig.none_pending()
        blob = BlobName(NS, digest)
        assert rig.backend.path(blob).read_bytes() == content
        assert await rig.backend.metainfo(blob) == rig.store.metainfo(digest).encode()
        assert rig.backed() == {digest}
        assert rig.store.backed_under(digest) == [NS]
        await rig.push(content)
        await rig.none_pending()
    assert rig.said == [f"put {digest.hex} 0", f"stored {digest.hex}"]


async def test_a_task_outlives_the_process_and_a_broken_off_put(rig: Rig) -> None:
    rig.backend.passing.clear()
    async with rig.working():
        digest = await rig.push(b"layer")

        async def begun() -> bool:
            return bool(rig.puts())

        await until(begun, SOON_S)
        stops_s = time.monotonic()
    assert time.monotonic() - stops_s < 5
    assert rig.backed() == set()
    rig.backend.passing.set()
    async with rig.working():
        await rig.none_pending()
    assert rig.backend.path(BlobName(NS, digest)).read_bytes() == b"layer"


async def test_what_the_backend_has_is_not_written_and_what_it_has_wrong_is(rig: Rig) -> None:
    there, wrong = b"there already", b"of another size"
    for content, held in ((there, there), (wrong, b"short")):
        rig.backend.path(BlobName(NS, Digest.of(content))).write_bytes(held)
    async with rig.working():
        for content in (there, wrong):
            await rig.push(content)
        await rig.none_pending()
    assert rig.puts() == [f"put {Digest.of(wrong).hex} 1"]
    assert rig.backend.path(BlobName(NS, Digest.of(wrong))).read_bytes() == wrong
    assert rig.backed() == {Digest.of(there), Digest.of(wrong)}


async def test_blobs_that_go_nowhere_are_owed_to_nobody(tmp_path: Path) -> None:
    settings = [BackendSettings(url="file:///none", name="folder", blob_bytes_max=10)]
    rig = Rig(tmp_path, settings)
    async with rig.working():
        await rig.push(b"private", "private/app")
        await rig.push(b"more than ten bytes")
        assert await rig.pending() == 0
        rig.backend.writable = False
        await rig.push(b"read only")
        assert await rig.pending() == 0


async def test_a_backend_that_is_down_is_left_alone_and_gets_all_when_it_returns(rig: Rig) -> None:
    rig.backend.down = "it rains"
    blobs = [f"layer {number}".encode() for number in range(200)]
    async with rig.working():
        began_s = time.monotonic()
        await asyncio.gather(*map(rig.push, blobs))

        async def failing() -> bool:
            progress = await rig.write_back.progress()
            return progress.backends == [
                BackendProgress(name="folder", pending=200, failing="it rains")
            ]

        await until(failing, SOON_S)

        async def probed() -> bool:
            return rig.backend.asked >= 20 + PROBES

        await until(probed, SOON_S)
        # One burst of what had begun, then single probes, whose pauses grow to the longest.
        assert time.monotonic() - began_s > (PROBES - 8) * 0.75 * QUICK.retry_s_max
        rig.backend.down = ""
        await rig.none_pending()
        assert (await rig.write_back.progress()).backends[0].failing == ""
    assert rig.backed() == set(map(Digest.of, blobs))


async def test_one_blob_that_the_backend_will_not_have_does_not_hold_up_others(rig: Rig) -> None:
    refused = Digest.of(b"refused")
    rig.backend.refusals[refused.hex] = UpstreamFailed("not this one")
    async with rig.working():
        await rig.push(b"refused")
        assert await rig.reason() == "not this one"
        others = [await rig.push(f"other {number}".encode()) for number in range(50)]

        async def one_left() -> bool:
            return await rig.pending() == 1

        await until(one_left, SOON_S)
        assert rig.backed() == set(others)
        rig.backend.refusals[refused.hex] = TooLarge("really not")
        rig.backend.refusals.clear()
        await rig.none_pending()


async def test_a_backend_that_has_no_place_for_a_blob_does_not_end_its_task(rig: Rig) -> None:
    digest = Digest.of(b"layer")
    rig.backend.refusals[digest.hex] = NotFound("no such bucket")
    async with rig.working():
        await rig.push(b"layer")
        assert await rig.reason() == "no such bucket"
        rig.backend.refusals.clear()
        await rig.none_pending()
    assert rig.backed() == {digest}


async def test_a_damaged_blob_reaches_no_backend_and_is_told(rig: Rig) -> None:
    content = bytes(2 * SMALL_BYTES)
    digest = Digest.of(content)
    rig.backend.down = "not yet"
    async with rig.working():
        await rig.push(content)
        await rig.reason()
        with rig.store.path(digest).open("r+b") as file:
            file.seek(SMALL_BYTES + 5)
            file.write(b"!")
        rig.backend.down = ""

        async def damaged() -> bool:
            return "damaged" in (await rig.task()).reason

        await until(damaged, SOON_S)
        assert rig.backed() == set()
        assert not rig.backend.path(BlobName(NS, digest)).exists()
        # The backend is not blamed.
        assert (await rig.write_back.progress()).backends[0].failing == ""


async def test_the_task_of_a_blob_that_is_gone_ends(rig: Rig) -> None:
    rig.backend.down = "not yet"
    async with rig.working():
        digest = await rig.push(b"layer")
        await rig.reason()

        async def deleted() -> bool:
            try:
                rig.store.delete(digest)
            except Unavailable:
                return False  # It is being tried just now.
            return True

        await until(deleted, SOON_S)
        rig.backend.down = ""
        await rig.none_pending()
    assert rig.puts() == []


async def test_tasks_of_a_backend_that_was_renamed_go_on_and_of_one_removed_end(rig: Rig) -> None:
    rig.backend.down = "not yet"
    async with rig.working():
        digest = await rig.push(b"layer")
    rig.backend.down, rig.backend.name = "", "moved"
    rig.settings = [BackendSettings(url="file:///none", name="moved")]
    async with rig.working():
        await rig.none_pending()
    assert rig.backed() == {digest}
    rig.backend.down = "again"
    async with rig.working():
        await rig.push(b"other")
    rig.settings = [BackendSettings(url="file:///none", name="new")]
    rig.backend.down, rig.backend.writable = "", False
    async with rig.working():
        await rig.none_pending()
    assert rig.backed() == {digest}


async def test_further_owners_look_later(tmp_path: Path) -> None:
    ring = [ME, "127.0.0.1:2", "127.0.0.1:3"]
    contents = [f"layer {number}".encode() for number in range(12)]
    due_s: list[list[float]] = []
    for number, name in enumerate(ring):
        rig = Rig(tmp_path / str(number), ring=Ring(ring, name))
        rig.backend.down = "not yet"
        async with rig.working():
            before_s = time.time()
            for content in contents:
                await rig.push(content)
            tasks = await rig.queue.run(lambda table: table.drop("sha256:"))
        later = {task.key: round((task.due_s - before_s) / 1000) for task in tasks}
        due_s.append([later[f"{prefix(Digest.of(one))}{NS}"] for one in contents])
    assert all(sorted(places) == [0, 1, 2] for places in zip(*due_s, strict=True))


# Off the disk.


def caching(rig: Rig, **limits: float) -> Caching:
    return Caching(rig.store, rig.leaving, CacheSettings(**{"idle_s": 0.0, **limits}))  # type: ignore[arg-type]


async def test_only_what_is_elsewhere_and_in_nobodys_way_is_evicted(rig: Rig) -> None:
    async with rig.working():
        backed = await rig.push(b"backed")
        pinned = await rig.push(b"pinned")
        await rig.none_pending()
        rig.backend.down = "it rains"
        pending = await rig.push(b"pending")
        again = await rig.push(b"backed, and pushed under another name")
        rig.store.mark_backed(again, NS)
        private = await rig.push(b"nowhere else", "private/app")
        soon = caching(rig, idle_s=0.001)
        assert await soon.scan() == []
        rig.shift_s = TOUCHED_S + 1
        with rig.store.open(pinned):
            assert await soon.scan() == [backed]
        assert {one.digest for one in rig.store.entries()} == {pinned, pending, again, private}
        assert await soon.scan() == [pinned]
        rig.backend.down = ""
        await rig.none_pending()
        assert set(await soon.scan()) == {pending, again}
        assert {one.digest for one in rig.store.entries()} == {private}


async def test_what_only_a_backend_has_that_is_no_longer_configured_stays(rig: Rig) -> None:
    async with rig.working():
        digest = await rig.push(b"backed")
        await rig.none_pending()
    rig.shift_s = TOUCHED_S + 1
    rig.nowhere = True
    async with rig.working():
        assert await caching(rig, idle_s=0.001).scan() == []
    rig.nowhere = False
    async with rig.working():
        assert await caching(rig, idle_s=0.001).scan() == [digest]


async def test_a_full_disk_and_old_age_evict_and_nothing_else_does(rig: Rig) -> None:
    async with rig.working():
        digest = await rig.push(b"backed")
        await rig.none_pending()
        rig.shift_s = TOUCHED_S + 1
        assert await caching(rig, life_s=3600.0).scan() == []
        assert await caching(rig, high_watermark=1.0, low_watermark=1.0).scan() == []
        full = caching(rig, high_watermark=1e-9, low_watermark=1e-9)
        assert await full.scan() == [digest]
        digest = await rig.push(b"backed")
        await rig.none_pending()
        rig.shift_s += TOUCHED_S + 1
        assert await caching(rig, life_s=1e-6).scan() == [digest]


async def test_a_push_keeps_its_blob_while_copies_are_made(rig: Rig) -> None:
    async with rig.working():
        digest = await rig.push(b"layer")
        await rig.none_pending()
        rig.shift_s = TOUCHED_S + 1
        async with rig.write_back.owing(NS, digest):
            assert await rig.leaving.evict(digest, rig.store.now_ns()) is None
        await rig.none_pending()
        assert await rig.leaving.evict(digest, rig.store.now_ns()) == 5


async def test_a_push_that_fails_owes_nothing(rig: Rig) -> None:
    async with rig.working():
        digest = Digest.of(b"layer")
        rig.store.put(digest, b"layer")
        with pytest.raises(Corrupt):
            async with rig.write_back.owing(NS, digest):
                raise Corrupt("as a copy may be")
        assert await rig.pending() == 0


# Collected.


async def collect(rig: Rig, digest: Digest) -> None:
    sentence = await rig.leaving.sentence([digest])

    async def gone() -> bool:
        """Unless it is being tried just now."""
        return rig.store.collect(digest, rig.store.now_ns() + 1) is not None

    await until(gone, SOON_S)
    await rig.leaving.collected([digest], sentence)


DELETES = [BackendSettings(url="file:///none", name="folder", deletes=True)]


async def test_a_collected_blob_is_deleted_where_that_is_asked_for(tmp_path: Path) -> None:
    rig = Rig(tmp_path, DELETES)
    async with rig.working():
        digest = await rig.push(b"garbage")
        other = await rig.push(b"needed")
        await rig.none_pending()
        await collect(rig, digest)
    assert {path.name for path in rig.backend.root.iterdir()} == {
        other.hex, f"{other.hex}.metainfo"
    }  # fmt: skip


async def test_a_collected_blob_stays_where_it_is_not(rig: Rig) -> None:
    async with rig.working():
        digest = await rig.push(b"garbage")
        await rig.none_pending()
        await collect(rig, digest)
    assert rig.backend.path(BlobName(NS, digest)).exists()


async def test_the_task_of_a_collected_blob_ends_at_once_and_what_it_left_is_deleted(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, DELETES)
    async with rig.working():
        rig.backend.down = "it rains"
        digest = await rig.push(b"garbage")
        await rig.reason()
        rig.backend.path(BlobName(NS, digest)).write_bytes(b"garbage")  # Its mark was not made.
        rig.backend.down = ""
        await collect(rig, digest)
        assert await rig.pending() == 0
    assert list(rig.backend.root.iterdir()) == []


async def test_a_blob_that_is_pushed_again_is_not_deleted(tmp_path: Path) -> None:
    rig = Rig(tmp_path, DELETES)
    async with rig.working():
        digest = await rig.push(b"wanted again")
        await rig.none_pending()
        sentence = await rig.leaving.sentence([digest])
        assert rig.store.collect(digest, rig.store.now_ns() + 1) is not None
        await rig.push(b"wanted again")
        await rig.leaving.collected([digest], sentence)
        assert rig.backend.path(BlobName(NS, digest)).exists()
        # Its task does not trust the backend until the sentence is over.
        assert "about to delete" in await rig.reason()
        rig.sources.condemned.pardon([digest])
        await rig.none_pending()
        assert rig.backed() == {digest}
    assert not [line for line in rig.said if line.startswith("deleted")]


async def test_nobody_relies_on_the_backend_for_what_another_origin_may_delete(rig: Rig) -> None:
    async with rig.working():
        kept = await rig.push(b"here")
        gone = await rig.push(b"there")
        await rig.none_pending()
        rig.store.delete(gone)
        assert await rig.refresh.size_elsewhere(NS, gone) == 5
        assert await rig.leaving.condemn([kept, gone]) == [kept]
        with pytest.raises(NotFound):
            await rig.refresh.size_elsewhere(NS, gone)
        with pytest.raises(NotFound):
            await rig.refresh.fetch(NS, gone, 1.0)
        rig.store.put(gone, b"there")
        async with rig.write_back.owing(NS, gone, there=True):
            pass
        assert rig.backed() == {kept}
        await rig.leaving.collected([], await rig.leaving.sentence([]))
        rig.sources.condemned.pardon([gone])
        await rig.none_pending()
        assert rig.backed() == {kept, gone}


async def test_a_blob_on_its_way_from_the_backend_counts_as_here(rig: Rig) -> None:
    digest = Digest.of(b"there")
    rig.backend.path(BlobName(NS, digest)).write_bytes(b"there")
    rig.backend.reading.clear()
    async with rig.working():
        assert await rig.refresh.fetch(NS, digest, 0.0) is not None
        assert await rig.leaving.condemn([digest]) == [digest]
        rig.backend.reading.set()
        assert await rig.refresh.fetch(NS, digest, SOON_S) is None
        assert rig.store.read(digest, 5) == b"there"


async def test_nothing_is_deleted_as_long_as_another_origin_may_have_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, DELETES, ring=Ring([ME, "127.0.0.1:2"], ME))
    rig.write_back_settings = WriteBackSettings(stagger_s=0.0)
    async with rig.working():
        digest = await rig.push(b"who knows")
        await rig.none_pending()
        await collect(rig, digest)  # The other one does not answer.
        assert rig.backend.path(BlobName(NS, digest)).exists()
