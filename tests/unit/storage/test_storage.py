import os
import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from octopull.blob.hashing import LeafHasher
from octopull.blob.layout import LEAF_BYTES
from octopull.blob.metainfo import Metainfo, describe
from octopull.kernel import bitfield
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import (
    Corrupt,
    InvalidDigest,
    InvalidName,
    InvalidRange,
    NotFound,
    TooLarge,
    Unavailable,
)  # fmt: skip
from octopull.storage import partial as partials
from octopull.storage.disk import DiskStore
from octopull.storage.entry import Entry
from octopull.storage.eviction import EvictionPolicy, evict, partials_before_s, victims
from octopull.storage.partial import Partial
from octopull.storage.uploads import READ_BYTES, Uploads

SHA256 = Algorithm.SHA256
either = pytest.mark.parametrize("algorithm", Algorithm)


def store_blob(store: DiskStore, blob: bytes, algorithm: Algorithm = SHA256) -> Digest:
    uploads, digest = Uploads(store), Digest.of(blob, algorithm)
    session = uploads.start()
    uploads.append(session, 0, blob)
    uploads.commit(session, digest)
    return digest


def metainfo_of(blob: bytes, algorithm: Algorithm = SHA256) -> Metainfo:
    hasher = LeafHasher()
    hasher.update(blob)
    return describe(Digest.of(blob, algorithm), len(blob), hasher)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@either
def test_a_blob_comes_back_with_its_metainfo(tmp_path: Path, algorithm: Algorithm) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(3 * LEAF_BYTES + 5)
    digest = store_blob(store, blob, algorithm)
    assert store.stat(digest) == len(blob)
    assert store.read(digest, len(blob)) == blob
    assert store.metainfo(digest) == metainfo_of(blob, algorithm)
    assert store.path(digest) == tmp_path / "blobs" / algorithm / digest.hex[:2] / digest.hex
    with pytest.raises(TooLarge):
        store.read(digest, len(blob) - 1)


def test_lost_or_damaged_metainfo_is_made_anew(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(LEAF_BYTES + 1)
    digest = store_blob(store, blob)
    side = next(path for path in files(tmp_path) if path.suffix == ".meta")
    for damage in (None, b"", b"noise", side.read_bytes()[:-1]):
        side.unlink() if damage is None else side.write_bytes(damage)
        assert store.metainfo(digest) == metainfo_of(blob)
        assert Metainfo.decode(side.read_bytes()) == metainfo_of(blob)


def test_an_open_blob_is_neither_deleted_nor_evicted(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    digest = store_blob(store, b"in use")
    everything = EvictionPolicy(idle_s=1e-9, high_watermark=1, low_watermark=1)
    with store.open(digest) as first, store.open(digest):
        with pytest.raises(Unavailable):
            store.delete(digest)
        assert evict(store, everything, 2e9) == []
        first.close()
        assert evict(store, everything, 2e9) == []
    assert evict(store, everything, 2e9) == [digest]
    with pytest.raises(NotFound):
        store.open(digest)
    assert not files(tmp_path)


entries = st.lists(
    st.builds(Entry, digest=st.binary(max_size=3).map(Digest.of), size=st.integers(0, 100),
              last_access_s=st.floats(0, 100), touched_s=st.floats(0, 100),
              pinned=st.booleans(), backed=st.booleans()),
    unique_by=lambda entry: entry.digest, max_size=12,
)  # fmt: skip


def used_s(entry: Entry) -> float:
    return max(entry.last_access_s, entry.touched_s)


@given(entries, st.integers(0, 1000), st.sampled_from([0.0, 50.0]), st.sampled_from([0.0, 70.0]))
def test_eviction_frees_what_it_must_in_order_of_use_and_no_more(
    listed: list[Entry], used: int, idle_s: float, life_s: float
) -> None:
    policy = EvictionPolicy(
        idle_s=idle_s, life_s=life_s, high_watermark=0.9, low_watermark=0.5
    )  # fmt: skip
    gone = set(victims(listed, policy, used, 1000, 100.0))
    assert not any(entry.pinned for entry in listed if entry.digest in gone)
    idle = {
        e.digest
        for e in listed
        if not e.pinned
        and ((idle_s and 100 - used_s(e) >= idle_s) or (life_s and 100 - e.touched_s >= life_s))
    }
    assert idle <= gone
    if used <= 900:
        assert gone == idle
        return
    kept = [entry for entry in listed if entry.digest not in gone and not entry.pinned]
    freed = sum(entry.size for entry in listed if entry.digest in gone)
    assert not kept or used - freed <= 500
    by_use = sorted((e for e in listed if e.digest in gone), key=lambda e: (used_s(e), e.digest))
    if by_use and by_use[-1].digest not in idle:
        assert used - (freed - by_use[-1].size) > 500


@either
def test_an_upload_goes_on_after_a_restart(tmp_path: Path, algorithm: Algorithm) -> None:
    blob = os.urandom(2 * LEAF_BYTES)
    first = Uploads(DiskStore(tmp_path))
    session = first.start()
    first.append(session, 0, blob[:1000])
    store = DiskStore(tmp_path)
    again = Uploads(store)
    assert again.size(session) == 1000
    with pytest.raises(InvalidRange):
        again.append(session, 0, blob)
    again.append(session, 1000, blob[1000:])
    digest = Digest.of(blob, algorithm)
    assert again.commit(session, digest) == metainfo_of(blob, algorithm)
    assert store.read(digest, len(blob)) == blob


def test_an_upload_of_many_reads_is_proven_to_its_last_byte(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(2 * READ_BYTES + 1)
    store_blob(store, blob, Algorithm.SHA512)
    with pytest.raises(InvalidDigest):
        uploads = Uploads(store)
        session = uploads.start()
        uploads.append(session, 0, blob[:-1] + bytes([blob[-1] ^ 1]))
        uploads.commit(session, Digest.of(blob, Algorithm.SHA512))
    assert len(files(tmp_path)) == 2


def test_an_upload_whose_file_lost_its_end_is_no_blob(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    uploads = Uploads(store)
    session = uploads.start()
    uploads.append(session, 0, b"whole")
    os.truncate(store.uploads_root / session, 4)
    with pytest.raises(Corrupt):
        uploads.commit(session, Digest.of(b"whole", Algorithm.SHA512))
    assert list(store.entries()) == []


@pytest.mark.parametrize("session", ["", "../blobs", "a" * 31, "A" * 32, "0" * 33, "/etc/passwd"])
def test_what_is_no_session_id_never_becomes_a_path(tmp_path: Path, session: str) -> None:
    with pytest.raises(InvalidName):
        Uploads(DiskStore(tmp_path)).size(session)


def test_idle_sessions_expire(tmp_path: Path) -> None:
    uploads = Uploads(DiskStore(tmp_path))
    session = uploads.start()
    assert uploads.expire(3600) == 0
    os.utime(tmp_path / "uploads" / session, (0, 0))
    assert uploads.expire(3600) == 1
    with pytest.raises(NotFound):
        uploads.size(session)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond ``size``."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@either
def test_a_write_that_the_disk_cuts_short_never_reaches_a_blob(
    tmp_path: Path, algorithm: Algorithm
) -> None:
    store = DiskStore(tmp_path)
    uploads = Uploads(store)
    session = uploads.start()
    uploads.append(session, 0, b"good")
    with files_end_at(7), pytest.raises(Unavailable):
        uploads.append(session, 4, b"JUNK that does not fit")
    assert uploads.size(session) == 4
    assert Uploads(store).size(session) == 4
    with (store.uploads_root / session).open("ab") as file:
        file.write(b"junk that could not be cut off")
    uploads.commit(session, Digest.of(b"good", algorithm))
    assert store.read(Digest.of(b"good", algorithm), 100) == b"good"


def test_a_session_that_ends_while_others_expire_does_not_end_the_expiry(tmp_path: Path) -> None:
    uploads = Uploads(DiskStore(tmp_path))
    old = uploads.start()
    os.utime(tmp_path / "uploads" / old, (0, 0))
    (tmp_path / "uploads" / ("f" * 32)).symlink_to("gone")
    assert uploads.expire(3600) == 1


def test_an_ended_session_is_not_resumed_by_who_asks_in_between(tmp_path: Path) -> None:
    uploads = Uploads(DiskStore(tmp_path))
    session = uploads.start()
    seen: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                uploads.size(session)
            except NotFound:
                seen.append("gone")

    asking = threading.Thread(target=ask)
    asking.start()
    uploads.abort(session)
    ended.set()
    asking.join()
    with pytest.raises(NotFound):
        uploads.size(session)
    assert not files(tmp_path / "uploads")


@either
def test_idle_partials_are_found_and_removed(tmp_path: Path, algorithm: Algorithm) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(LEAF_BYTES)
    partial = Partial.open(store, metainfo_of(blob, algorithm))
    partial.close()
    (store.partial_root / "noise.data").touch()
    assert partials.idle(store, 0.0) == []
    assert partials.idle(store, 2e9) == [Digest.of(blob, algorithm)]
    partials.remove(store, Digest.of(blob, algorithm))
    (store.partial_root / "noise.data").unlink()
    assert not files(tmp_path)


def test_on_a_full_disk_every_partial_may_go_and_else_the_idle_ones() -> None:
    policy = EvictionPolicy(idle_s=50.0, high_watermark=0.9, low_watermark=0.5)
    assert partials_before_s(policy, 950, 1000, 1000.0) == 1000.0
    assert partials_before_s(policy, 100, 1000, 1000.0) == 950.0
    keep = EvictionPolicy(idle_s=0.0, high_watermark=0.9, low_watermark=0.5)
    assert partials_before_s(keep, 100, 1000, 1000.0) == 0.0


class UploadModel(RuleBasedStateMachine):
    """Any order of chunks, retries, restarts and aborts leaves the blob or nothing."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.store = DiskStore(self.root)
        self.uploads = Uploads(self.store)
        self.sessions: dict[str, bytes] = {}
        self.blobs: dict[Digest, bytes] = {}

    def one(self, data: st.DataObject) -> str:
        """A session by its place in order of age: ids are chance, and must not steer the test."""
        return list(self.sessions)[data.draw(st.integers(0, len(self.sessions) - 1))]

    @rule()
    def start(self) -> None:
        self.sessions[self.uploads.start()] = b""

    @rule(chunk=st.binary(max_size=50), skew=st.sampled_from([0, 0, 0, -1, 1]), data=st.data())
    def append(self, chunk: bytes, skew: int, data: st.DataObject) -> None:
        if self.sessions:
            session = self.one(data)
            offset = len(self.sessions[session]) + skew
            if skew:
                with pytest.raises(InvalidRange):
                    self.uploads.append(session, offset, chunk)
            else:
                self.sessions[session] += chunk
                assert self.uploads.append(session, offset, chunk) == len(self.sessions[session])

    @rule(right=st.booleans(), algorithm=st.sampled_from(Algorithm), data=st.data())
    def commit(self, right: bool, algorithm: Algorithm, data: st.DataObject) -> None:
        if self.sessions:
            session = self.one(data)
            blob = self.sessions.pop(session)
            if right:
                self.uploads.commit(session, Digest.of(blob, algorithm))
                self.blobs[Digest.of(blob, algorithm)] = blob
            else:
                with pytest.raises(InvalidDigest):
                    self.uploads.commit(session, Digest.of(blob + b"?", algorithm))
            with pytest.raises(NotFound):
                self.uploads.size(session)

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        if self.sessions:
            session = self.one(data)
            del self.sessions[session]
            self.uploads.abort(session)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.blobs:
            digest = data.draw(st.sampled_from(sorted(self.blobs)))
            del self.blobs[digest]
            self.store.delete(digest)

    @rule()
    def restart(self) -> None:
        self.store = DiskStore(self.root)
        self.uploads = Uploads(self.store)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "store"):
            found = {entry.digest: entry.size for entry in self.store.entries()}
            assert found == {digest: len(blob) for digest, blob in self.blobs.items()}
            for digest, blob in self.blobs.items():
                assert self.store.read(digest, 1000) == blob
                assert self.store.metainfo(digest) == metainfo_of(blob, digest.algorithm)
            assert len(files(self.root / "uploads")) == len(self.sessions)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestUploads = UploadModel.TestCase


def piece(blob: bytes, number: int) -> memoryview:
    return memoryview(blob)[number * LEAF_BYTES : (number + 1) * LEAF_BYTES]


@either
def test_pieces_in_any_order_make_the_blob(tmp_path: Path, algorithm: Algorithm) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(3 * LEAF_BYTES + 9)
    partial = Partial.open(store, metainfo_of(blob, algorithm))
    for number in (3, 1, 0):
        assert partial.write(number, piece(blob, number))
    partial.advance(2 * LEAF_BYTES)
    assert partial.write(2, piece(blob, 2))
    partial.commit()
    partial.close()
    assert store.read(Digest.of(blob, algorithm), len(blob)) == blob
    assert len(files(tmp_path)) == 2


def test_a_wrong_piece_is_refused_and_not_written(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(2 * LEAF_BYTES)
    partial = Partial.open(store, metainfo_of(blob))
    assert not partial.write(0, piece(blob, 1))
    assert partial.have == 0
    assert os.pread(partial.fd, LEAF_BYTES, 0) == bytes(LEAF_BYTES)
    partial.close()


def test_after_a_restart_only_pieces_that_prove_again_are_trusted(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(4 * LEAF_BYTES)
    partial = Partial.open(store, metainfo_of(blob))
    for number in (0, 2, 3):
        partial.write(number, piece(blob, number))
    os.pwrite(partial.fd, b"rot", 2 * LEAF_BYTES)  # a torn or rotten piece, still marked
    partial.close()
    again = Partial.open(DiskStore(tmp_path), metainfo_of(blob))
    assert again.have == bitfield.of([0, 3])
    again.close()


@either
def test_a_whole_of_right_pieces_with_a_wrong_digest_is_thrown_away(
    tmp_path: Path, algorithm: Algorithm
) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(LEAF_BYTES)
    honest = metainfo_of(blob)
    lying = Metainfo(Digest.of(b"something else", algorithm), honest.layout, honest.piece_hashes)
    partial = Partial.open(store, lying)
    assert partial.write(0, piece(blob, 0))
    with pytest.raises(Corrupt):
        partial.commit()
    partial.close()
    assert not files(tmp_path)


def test_other_metainfo_starts_the_partial_anew(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(LEAF_BYTES)
    first = Partial.open(store, metainfo_of(blob))
    first.write(0, piece(blob, 0))
    first.close()
    honest = metainfo_of(blob)
    other = Metainfo(honest.digest, honest.layout, (bytes(32),))
    second = Partial.open(store, other)
    assert second.have == 0
    second.close()


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_rewound_session_goes_on_from_there(tmp_path: Path, size: int) -> None:
    store = DiskStore(tmp_path)
    uploads = Uploads(store)
    session = uploads.start()
    uploads.append(session, 0, b"hello")
    uploads.rewind(session, size)
    assert uploads.size(session) == size
    with pytest.raises(InvalidRange):
        uploads.rewind(session, size + 1)
    uploads.append(session, size, b"world")
    whole = b"hello"[:size] + b"world"
    uploads.commit(session, Digest.of(whole))
    assert store.read(Digest.of(whole), 100) == whole
