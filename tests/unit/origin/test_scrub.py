"""What the disk damaged is found and set aside; all else is as if nobody had read it."""

import os
from pathlib import Path

import pytest

from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import NotFound
from octopull.services.origin import scrub
from octopull.services.origin.scrub import Scrub
from octopull.storage.disk import DiskStore

FAST = 1 << 40
LENGTH = 3_000_000


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path)


def fill(store: DiskStore, count: int) -> list[Digest]:
    """Blobs of both algorithms, in the order of a round."""
    digests = []
    for number in range(count):
        blob = bytes([number]) * LENGTH
        digests.append(Digest.of(blob, list(Algorithm)[number % 2]))
        store.put(digests[-1], blob)
    return sorted(digests, key=str)


def damage(store: DiskStore, digest: Digest, at: int) -> None:
    """One bit, as disks do."""
    path = store.path(digest)
    told = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))


@pytest.mark.parametrize("at", [0, LENGTH - 1])
async def test_a_flipped_bit_is_found_and_what_is_left_is_kept_aside(
    store: DiskStore, at: int
) -> None:
    digests, found = fill(store, 4), list[Digest]()
    damage(store, digests[1], at)
    store.mark_backed(digests[1], "ns")
    left = store.path(digests[1]).read_bytes()
    store.on_damaged = found.append
    await Scrub(store, FAST).round()
    assert found == [digests[1]]
    with pytest.raises(NotFound):
        store.stat(digests[1])
    assert store.backed_under(digests[1]) == []
    assert [path.read_bytes() for path in store.damaged_root.iterdir()] == [left]
    assert [entry.digest for entry in store.entries()] == [digests[0], *digests[2:]]


async def test_a_round_over_sound_blobs_changes_nothing(store: DiskStore) -> None:
    fill(store, 3)
    before, found = list(store.entries()), list[Digest]()
    store.on_damaged = found.append
    await Scrub(store, FAST).round()
    assert found == []
    assert list(store.entries()) == before
    assert not store.damaged_root.exists()


async def test_a_copy_that_came_meanwhile_stays(store: DiskStore) -> None:
    (digest,) = fill(store, 1)
    with store.open(digest) as old:
        store.path(digest).rename(store.root / "old")
        store.put(digest, bytes(LENGTH))
        assert not store.set_aside(digest, old.fd, "it has another digest")
    assert store.stat(digest) == LENGTH


async def test_the_next_process_goes_on_where_the_last_one_was(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "REMEMBER_S", 0.0)
    digests = fill(store, 4)
    damage(store, digests[2], 0)

    class KilledError(Exception):
        pass

    def kill(_: Digest) -> None:
        raise KilledError

    store.on_damaged = kill
    with pytest.raises(KilledError):
        await Scrub(store, FAST).round()
    assert scrub.recall(store.root / "scrubbed") == digests[1]
    seen: list[Digest] = []
    for digest in (digests[1], digests[3]):
        damage(store, digest, 0)
    store.on_damaged = seen.append
    await Scrub(store, FAST).round()
    assert seen == [digests[3]]
    assert scrub.recall(store.root / "scrubbed") is None


@pytest.mark.parametrize("text", [b"", b"sha256:", b"\xff", b"md5:00"])
def test_a_place_that_says_nothing_is_the_beginning(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "scrubbed").write_bytes(text)
    assert scrub.recall(tmp_path / "scrubbed") is None
