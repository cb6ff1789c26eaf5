"""What is read from a disk is proven, unless it was lately and nobody changed the file since."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.blob.layout import LEAF_BYTES, Layout
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound
from octopull.storage import proofs, sides
from octopull.storage.blob_file import BlobFile
from octopull.storage.disk import DiskStore
from octopull.storage.proofs import Proof
from octopull.storage.uploads import Uploads

SIZE = 40 * LEAF_BYTES + 5


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path)


@pytest.fixture
def digest(store: DiskStore) -> Digest:
    uploads, blob = Uploads(store), os.urandom(SIZE)
    session = uploads.start()
    uploads.append(session, 0, blob)
    uploads.commit(session, Digest.of(blob), lone=False)
    return Digest.of(blob)


def spoil(store: DiskStore, digest: Digest, offset: int) -> None:
    """Another byte there, as somebody writes it."""
    with store.path(digest).open("r+b") as file:
        file.seek(offset)
        spoiled = file.read(1)[0] ^ 1
        file.seek(offset)
        file.write(bytes([spoiled]))


async def sent(blob: BlobFile, start: int = 0) -> int:
    """Until where a client would have the bytes from ``start`` on."""
    while start < blob.size:
        end = await blob.proven(start)
        assert end > start
        start = end
    return start


async def test_what_was_just_stored_or_read_is_not_read_again(
    store: DiskStore, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: int) -> bytes:
        raise AssertionError("the disk was read")

    monkeypatch.setattr(os, "pread", refused)
    for _ in range(2):
        with store.open(digest) as blob:
            assert await sent(blob) == SIZE
        store.keep(digest)
        store.accessed(digest, 1.0)


async def test_another_start_reads_everything_once(
    store: DiskStore, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, reads, pread = DiskStore(store.root), list[int](), os.pread

    def counted(fd: int, count: int, offset: int) -> bytes:
        reads.append(count)
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    for _ in range(2):
        with again.open(digest) as blob:
            assert await sent(blob) == SIZE
    assert sum(reads) == SIZE


@pytest.mark.parametrize("offset", [0, LEAF_BYTES, 39 * LEAF_BYTES, SIZE - 1])
async def test_nothing_is_given_that_somebody_changed(
    store: DiskStore, digest: Digest, offset: int
) -> None:
    gone: list[Digest] = []
    store.on_damaged = gone.append
    spoil(store, digest, offset)
    with store.open(digest) as blob, pytest.raises(Corrupt):
        await sent(blob)
    assert gone == [digest]
    with pytest.raises(NotFound):
        store.open(digest)
    assert store.aside(digest).stat().st_size == SIZE


async def test_a_change_while_it_is_open_is_seen_by_the_next_reader(
    store: DiskStore, digest: Digest
) -> None:
    with store.open(digest) as blob:
        assert await sent(blob) == SIZE
        spoil(store, digest, 7)
        with store.open(digest) as other, pytest.raises(Corrupt):
            await sent(other)


async def test_after_a_while_it_is_read_again(
    store: DiskStore, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.open(digest) as blob:
        before = store.path(digest).stat()
        spoil(store, digest, 7)
        # As a disk does that loses a bit: the times stay.
        blob.proof.identity = proofs.identity(store.path(digest).stat())
        assert before.st_size == SIZE
        assert await sent(blob) == SIZE
        monkeypatch.setattr(proofs, "PROVEN_S", 0.0)
        with pytest.raises(Corrupt):
            await sent(blob)


async def test_lost_or_wrong_metainfo_does_not_cost_the_blob(
    store: DiskStore, digest: Digest
) -> None:
    meta = sides.meta(store.path(digest))
    whole = meta.read_bytes()
    for wrong in (None, whole[:-1] + bytes([whole[-1] ^ 1])):
        if wrong is None:
            meta.unlink()
        else:
            meta.write_bytes(wrong)
        again = DiskStore(store.root)
        with again.open(digest) as blob:
            assert await sent(blob) == SIZE
        assert meta.read_bytes() == whole


@given(
    st.integers(1, 20 * LEAF_BYTES), st.lists(st.tuples(st.integers(0, 19), st.integers(1, 9))),
    st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_a_run_ends_where_the_first_piece_is_that_was_not_proven(
    size: int, added: list[tuple[int, int]], where: float
) -> None:
    layout = Layout(size, LEAF_BYTES)
    proof, model = Proof((0, 0, 0, 0), 0.0), set[int]()
    for first, wanted in added:
        count = min(wanted, layout.count - first)
        if count > 0:
            proof.add(layout, first, count)
            model |= set(range(first, first + count))
    offset = int(where * size)
    end = piece = layout.piece_at(offset)
    while end in model:
        end += 1
    assert proof.end(offset) == (layout.prefix_bytes(end) if end > piece else None)
