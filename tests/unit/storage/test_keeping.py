"""What garbage collection may take from a store, and what stays."""

import os
import threading
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import NotFound
from octopull.storage import sides
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads

BLOB = b"a blob"
DIGEST = Digest.of(BLOB)
LATER_NS = 2**62
ROUNDS = 20


def stored(store: DiskStore, blob: bytes = BLOB, *, lone: bool = False) -> Digest:
    uploads, digest = Uploads(store), Digest.of(blob)
    session = uploads.start()
    uploads.append(session, 0, blob)
    uploads.commit(session, digest, lone=lone)
    return digest


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


class Clock:
    ns = 100

    def __call__(self) -> int:
        return self.ns


@pytest.mark.parametrize("how", ["store", "store again", "keep", "put again"])
def test_what_was_touched_since_is_neither_listed_nor_taken(tmp_path: Path, how: str) -> None:
    clock = Clock()
    store = DiskStore(tmp_path, clock)
    if how != "store":
        stored(store)
    clock.ns = 200
    if how == "keep":
        assert store.keep(DIGEST) == len(BLOB)
    elif how == "put again":
        store.put(DIGEST, BLOB)
    else:
        stored(store)
    assert store.untouched(200, None, 9) == []
    assert store.collect(DIGEST, 200) is None
    assert store.untouched(201, None, 9) == [(DIGEST, len(BLOB))]
    assert store.collect(DIGEST, 201) == len(BLOB)
    assert store.keep(DIGEST) is None
    assert store.collect(DIGEST, 201) is None
    assert not files(tmp_path)


def test_what_is_read_stays_and_reading_does_not_touch(tmp_path: Path) -> None:
    clock = Clock()
    store = DiskStore(tmp_path, clock)
    stored(store)
    clock.ns = 200
    with store.open(DIGEST):
        assert store.collect(DIGEST, 150) is None
        assert store.untouched(150, None, 9) == []
    assert store.collect(DIGEST, 150) == len(BLOB)


@pytest.mark.parametrize("how", ["stored", "stored again", "kept"])
def test_a_lone_blob_stays_until_it_is_released_even_through_a_restart(
    tmp_path: Path, how: str
) -> None:
    store = DiskStore(tmp_path)
    stored(store, lone=how == "stored")
    if how == "stored again":
        stored(store, lone=True)
    elif how == "kept":
        store.keep(DIGEST, lone=True)
    store = DiskStore(tmp_path)
    stored(store)  # A push for an image does not take it back.
    assert store.untouched(LATER_NS, None, 9) == []
    assert store.collect(DIGEST, LATER_NS) is None
    store.release(DIGEST)
    assert store.collect(DIGEST, LATER_NS) == len(BLOB)
    assert not files(tmp_path)
    with pytest.raises(NotFound):
        store.release(DIGEST)


def test_to_keep_a_blob_that_is_not_here_leaves_nothing_behind(tmp_path: Path) -> None:
    assert DiskStore(tmp_path).keep(DIGEST, lone=True) is None
    assert not files(tmp_path)


def test_side_files_without_a_blob_are_swept_at_the_next_start(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    left, gone = stored(store, b"left", lone=True), stored(store, lone=True)
    sides.unspread(store.path(gone)).touch()
    store.path(gone).unlink()
    store.path(gone).with_suffix(".tmp").touch()
    store = DiskStore(tmp_path)
    assert {path.name for path in files(tmp_path)} == {
        left.hex, f"{left.hex}.meta", f"{left.hex}.lone"
    }  # fmt: skip
    assert store.read(left, 9) == b"left"


def test_a_page_ends_where_the_next_begins_over_all_algorithms(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    blobs = [bytes([number]) * number for number in range(30)]
    digests = [Digest.of(one, algorithm) for one in blobs for algorithm in Algorithm]
    for digest, blob in zip(digests, [one for one in blobs for _ in Algorithm], strict=True):
        store.put(digest, blob)
    wanted = sorted(digests, key=str)
    for count in (1, 7, 60, 99):
        found: list[Digest] = []
        while page := store.untouched(LATER_NS, found[-1] if found else None, count):
            assert len(page) <= count
            found += [digest for digest, _ in page]
        assert found == wanted


KINDS = [kinds for count in (2, 3) for kinds in product(["keep", "open", "collect"], repeat=count)]


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_what_keep_found_is_not_taken_by_a_collection_listed_before(
    tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    """Threads, on one blob that was last touched long before the page was listed."""
    store = DiskStore(tmp_path)
    kept: list[int | None] = []

    def run(kind: str, start: threading.Barrier, before_ns: int) -> None:
        start.wait()
        if kind == "keep":
            kept.append(store.keep(DIGEST))
        elif kind == "collect":
            store.collect(DIGEST, before_ns)
        else:
            with suppress(NotFound):
                store.open(DIGEST).close()

    for _ in range(ROUNDS):
        stored(store)
        os.utime(store.path(DIGEST), ns=(0, 0))
        kept.clear()
        shared = threading.Barrier(len(kinds)), store.now_ns()
        threads = [threading.Thread(target=run, args=(kind, *shared)) for kind in kinds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.collect(DIGEST, shared[1])
        assert store.path(DIGEST).exists() == any(size is not None for size in kept)
