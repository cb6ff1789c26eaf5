"""Small blobs in memory: what comes in, what goes, and what it costs."""

import os
import threading
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import Corrupt, NotFound, TooLarge, Unavailable
from octopull.storage.blob_file import BlobFile
from octopull.storage.eviction import EvictionPolicy, evict
from octopull.storage.hot import ENTRY_BYTES, HotStore
from octopull.storage.uploads import Uploads

SMALL = 1000
LATER_NS = 2**62
ROUNDS = 50
DAY_NS = 86400 * 10**9
BLOB = b"a small blob"
DIGEST = Digest.of(BLOB)


def opened(root: Path, bytes_max: int = 1 << 20) -> HotStore:
    return HotStore(root, bytes_max, SMALL)


def stored(store: HotStore, blob: bytes) -> Digest:
    """Through an upload session, as a push does: the bytes do not pass by memory."""
    uploads, digest = Uploads(store), Digest.of(blob)
    session = uploads.start()
    uploads.append(session, 0, blob)
    uploads.commit(session, digest)
    return digest


def counted(name: str) -> float:
    figure = REGISTRY.get_sample_value(f"octopull_memory_{name}")
    assert figure is not None
    return figure


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_what_was_read_once_is_had_without_the_disk(tmp_path: Path, algorithm: Algorithm) -> None:
    digest = Digest.of(BLOB, algorithm)
    opened(tmp_path).put(digest, BLOB)
    store = opened(tmp_path)
    assert store.content(digest) is None
    assert store.take(digest) == BLOB
    store.path(digest).unlink()
    assert store.content(digest) == BLOB
    assert store.take(digest) == BLOB
    assert store.read(digest, SMALL) == BLOB


def test_what_was_put_is_in_memory_and_what_was_pushed_is_not_until_it_is_read(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path)
    store.put(DIGEST, BLOB)
    assert store.content(DIGEST) == BLOB
    pushed = stored(store, b"pushed")
    assert store.content(pushed) is None


@pytest.mark.parametrize("size", [0, 1, SMALL])
def test_the_edges_of_small_are_small(tmp_path: Path, size: int) -> None:
    store = opened(tmp_path)
    digest = stored(store, bytes(size))
    assert store.take(digest) == bytes(size)
    assert store.content(digest) == bytes(size)


def test_a_larger_blob_is_opened_and_stays_out(tmp_path: Path) -> None:
    store, blob = opened(tmp_path), bytes(SMALL + 1)
    digest = stored(store, blob)
    taken = store.take(digest)
    assert isinstance(taken, BlobFile)
    with taken:
        assert taken.read(0, SMALL + 2) == blob
        with pytest.raises(Unavailable):
            store.delete(digest)
    store.put(Digest.of(b"x" * (SMALL + 1)), b"x" * (SMALL + 1))
    assert store.read(digest, SMALL + 1) == blob
    assert store.content(digest) is store.content(Digest.of(b"x" * (SMALL + 1))) is None
    store.delete(digest)


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path, 0)
    digest = stored(store, b"")
    taken = store.take(digest)
    assert isinstance(taken, BlobFile)
    taken.close()
    store.put(DIGEST, BLOB)
    assert store.content(DIGEST) is None
    assert store.read(DIGEST, SMALL) == BLOB


def test_a_reader_with_a_smaller_limit_is_told(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put(DIGEST, BLOB)
    with pytest.raises(TooLarge):
        store.read(DIGEST, len(BLOB) - 1)


@pytest.mark.parametrize("how", ["deleted", "collected", "evicted", "evicted at an origin"])
def test_what_leaves_the_disk_leaves_memory(tmp_path: Path, how: str) -> None:
    store = opened(tmp_path)
    store.put(DIGEST, BLOB)
    assert store.content(DIGEST) == BLOB
    if how == "deleted":
        store.delete(DIGEST)
    elif how == "collected":
        assert store.collect(DIGEST, LATER_NS) == len(BLOB)
    elif how == "evicted at an origin":
        store.mark_backed(DIGEST, "a/b")
        assert store.evict(DIGEST, LATER_NS) == len(BLOB)
    else:
        policy = EvictionPolicy(idle_s=1, life_s=0, high_watermark=1, low_watermark=1)
        assert evict(store, policy, time.time() + 9) == [DIGEST]
    assert store.content(DIGEST) is None
    with pytest.raises(NotFound):
        store.take(DIGEST)
    with pytest.raises(NotFound):
        store.read(DIGEST, SMALL)


def test_what_is_gone_from_the_disk_by_another_hand_leaves_memory_when_deleted(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path)
    store.put(DIGEST, BLOB)
    store.path(DIGEST).unlink()
    with pytest.raises(NotFound):
        store.delete(DIGEST)
    assert store.content(DIGEST) is None


def test_bytes_that_the_disk_has_damaged_are_corrupt_and_stay_out(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for ask in (store.take, store.start, lambda one: store.read(one, SMALL)):
        digest = stored(store, BLOB)
        store.path(digest).write_bytes(BLOB[:-1] + b"X")
        with pytest.raises(Corrupt):
            ask(digest)
        assert store.content(digest) is None
        assert store.aside(digest).read_bytes() == BLOB[:-1] + b"X"
        with pytest.raises(NotFound):
            store.delete(digest)


def test_a_blob_that_is_used_in_memory_is_not_idle_and_the_next_start_knows(tmp_path: Path) -> None:
    now_ns = time.time_ns() - DAY_NS
    store, cold = HotStore(tmp_path, 1 << 20, SMALL, lambda: now_ns), Digest.of(b"cold")
    store.put(DIGEST, BLOB)
    store.put(cold, b"cold")
    for path in (store.path(DIGEST), store.path(cold)):
        unread(path)
    now_ns += DAY_NS
    assert store.content(DIGEST) == BLOB
    touched_ns = store.path(DIGEST).stat().st_mtime_ns
    policy = EvictionPolicy(idle_s=3600, life_s=0, high_watermark=1, low_watermark=1)
    assert evict(store, policy, time.time()) == [cold]
    assert store.path(DIGEST).stat().st_mtime_ns == touched_ns
    (entry,) = opened(tmp_path).entries()
    assert time.time() - entry.last_access_s < 60


def unread(path: Path) -> None:
    """Let the file look as if nobody had read it for a day."""
    os.utime(path, ns=(time.time_ns() - DAY_NS, time.time_ns() - DAY_NS))


def test_the_least_recently_used_blobs_make_room(tmp_path: Path) -> None:
    store = opened(tmp_path, 3 * (ENTRY_BYTES + 10))
    digests = [Digest.of(bytes([n]) * 10) for n in range(4)]
    for n, digest in enumerate(digests[:3]):
        store.put(digest, bytes([n]) * 10)
    assert store.content(digests[0]) is not None
    store.put(digests[3], bytes([3]) * 10)
    kept = [store.content(digest) is not None for digest in digests]
    assert kept == [True, False, True, True]


def test_what_is_counted_is_what_it_costs(tmp_path: Path) -> None:
    store = opened(tmp_path, 60 * ENTRY_BYTES)
    for number in range(120):
        stored(store, b"%d" % number)
    before = counted("bytes")
    tracemalloc.start()
    try:
        for number in range(120):
            store.take(Digest.of(b"%d" % number))
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    ours = [tracemalloc.Filter(True, name) for name in ("*/octopull/*", __file__)]
    cost = sum(one.size for one in snapshot.filter_traces(ours).statistics("filename"))
    held = counted("bytes") - before
    assert 50 * ENTRY_BYTES < held <= 60 * ENTRY_BYTES
    assert held / 4 < cost <= held


def test_a_deleted_blob_never_comes_back_from_a_read_that_ran_meanwhile(tmp_path: Path) -> None:
    store, over = opened(tmp_path), threading.Event()

    def read() -> None:
        while not over.is_set():
            with suppress(NotFound):
                store.take(DIGEST)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(ROUNDS):
            store.put(DIGEST, BLOB)
            while True:
                with suppress(Unavailable):
                    store.delete(DIGEST)
                    break
            assert store.content(DIGEST) is None
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert store.content(DIGEST) is None


def test_a_delete_during_a_put_leaves_nothing_in_memory_that_the_disk_lacks(tmp_path: Path) -> None:
    store = opened(tmp_path)

    def delete() -> None:
        while not store.path(DIGEST).exists():
            pass
        with suppress(Unavailable):
            store.delete(DIGEST)

    for _ in range(ROUNDS):
        deleter = threading.Thread(target=delete)
        deleter.start()
        store.put(DIGEST, BLOB)
        deleter.join()
        assert store.path(DIGEST).exists() == (store.content(DIGEST) is not None)
        with suppress(NotFound):
            store.delete(DIGEST)


def test_hits_misses_and_bytes_are_counted(tmp_path: Path) -> None:
    names = ("hits_total", "misses_total", "bytes")
    store = opened(tmp_path)
    digest, before = stored(store, BLOB), [counted(name) for name in names]
    store.take(digest)
    store.take(digest)
    store.content(digest)
    held = len(BLOB) + ENTRY_BYTES
    now = [counted(name) for name in names]
    assert [one - then for one, then in zip(now, before, strict=True)] == [2, 1, held]
    store.delete(digest)
    assert counted("bytes") == before[2]
