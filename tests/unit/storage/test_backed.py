"""Blobs that storage of others has, too: their marks, and that these alone are evicted."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.storage import sides
from octopull.storage.disk import DiskStore

BLOB = b"layer"
DIGEST = Digest.of(BLOB)


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    store = DiskStore(tmp_path)
    store.put(DIGEST, BLOB)
    return store


def later(store: DiskStore) -> int:
    return store.now_ns() + 1_000_000_000


def backed(store: DiskStore) -> list[Digest]:
    return [entry.digest for entry in store.entries() if entry.backed]


def test_a_blob_that_is_nowhere_else_is_never_evicted(store: DiskStore) -> None:
    assert store.evict(DIGEST, later(store)) is None
    store.mark_backed(DIGEST, "team/app")
    assert store.evict(DIGEST, later(store)) == len(BLOB)
    assert store.evict(DIGEST, later(store)) is None


def test_a_blob_that_is_read_or_was_touched_stays(store: DiskStore) -> None:
    store.mark_backed(DIGEST, "team/app")
    with store.open(DIGEST):
        assert store.evict(DIGEST, later(store)) is None
    before_ns = store.now_ns()
    store.keep(DIGEST)
    assert store.evict(DIGEST, before_ns) is None
    assert store.evict(DIGEST, later(store)) == len(BLOB)


def test_a_mark_outlives_a_restart_and_goes_with_the_blob(store: DiskStore) -> None:
    store.mark_backed(DIGEST, "team/app")
    store.mark_backed(DIGEST, "team/other")
    store.mark_backed(DIGEST, "team/app")
    store = DiskStore(store.root)
    assert backed(store) == [DIGEST]
    assert store.backed_under(DIGEST) == ["team/app", "team/other"]
    store.delete(DIGEST)
    assert store.backed_under(DIGEST) == []
    with pytest.raises(NotFound):
        store.mark_backed(DIGEST, "team/app")
    store.put(DIGEST, BLOB)
    assert backed(store) == []


def test_a_mark_without_a_blob_is_swept(store: DiskStore) -> None:
    """A kill between the two must not let the blob's next life seem to be backed."""
    store.mark_backed(DIGEST, "team/app")
    store.path(DIGEST).unlink()
    store = DiskStore(store.root)
    store.put(DIGEST, BLOB)
    assert backed(store) == []


def test_a_torn_line_harms_no_other(store: DiskStore) -> None:
    side = sides.backed(store.path(DIGEST))
    side.write_bytes(b"team/app\nteam/o")
    store.mark_backed(DIGEST, "team/third")
    assert store.backed_under(DIGEST) == ["team/app", "team/o", "team/third"]
    side.write_bytes(b"\xff\xfe\n")
    assert len(store.backed_under(DIGEST)) == 1


@given(st.lists(st.from_regex(r"[a-z0-9]{1,9}(/[a-z0-9]{1,9}){0,2}", fullmatch=True)))
def test_all_namespaces_are_remembered_once(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    store = DiskStore(tmp_path_factory.mktemp("store"))
    store.put(DIGEST, BLOB)
    for name in names:
        store.mark_backed(DIGEST, name)
    assert store.backed_under(DIGEST) == list(dict.fromkeys(names))


def test_what_is_remembered_of_one_blob_is_bounded(store: DiskStore) -> None:
    for number in range(700):
        store.mark_backed(DIGEST, f"{number:03d}" + "x" * 97)
    assert sides.backed(store.path(DIGEST)).stat().st_size <= sides.NOTES_BYTES_MAX
    assert backed(store) == [DIGEST]
