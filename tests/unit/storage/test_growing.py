"""Blobs whose hashes come while they do: partial blobs at agents, sessions at origins."""

import os
from pathlib import Path

import pytest

from octopull.blob.hashing import LeafHasher
from octopull.blob.layout import LEAF_BYTES
from octopull.blob.metainfo import Growing, Metainfo, describe
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidDigest, NotFound
from octopull.storage.disk import DiskStore
from octopull.storage.partial import Partial
from octopull.storage.uploads import Uploads


def metainfo_of(blob: bytes) -> Metainfo:
    hasher = LeafHasher()
    hasher.update(blob)
    return describe(Digest.of(blob), len(blob), hasher)


def part(blob: bytes, number: int) -> memoryview:
    return memoryview(blob)[number * LEAF_BYTES : (number + 1) * LEAF_BYTES]


def test_pieces_are_proven_by_hashes_learnt_later(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(3 * LEAF_BYTES)
    whole = metainfo_of(blob)
    partial = Partial.open(store, Growing(whole.outline, 0, whole.piece_hashes[:1]))
    assert partial.write(0, part(blob, 0))
    partial.learn(0, whole.piece_hashes[:2])  # Told again from the start, as after a restart.
    partial.learn(5, whole.piece_hashes[:1])  # Too far ahead: of no use.
    assert partial.known == 2
    assert not partial.write(1, part(blob, 0))
    assert partial.write(1, part(blob, 1))
    partial.learn(2, whole.piece_hashes[2:])
    partial.seal()
    partial.close()
    again = Partial.open(store, whole)
    assert again.have == 0b011
    assert again.write(2, part(blob, 2))
    again.commit()
    again.close()
    assert store.metainfo(whole.digest) == whole


def test_a_partial_that_was_not_sealed_begins_anew(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), os.urandom(2 * LEAF_BYTES)
    whole = metainfo_of(blob)
    for described in (Growing(whole.outline, 0, whole.piece_hashes), whole):
        partial = Partial.open(store, described)
        assert partial.have == 0
        assert partial.write(0, part(blob, 0))
        partial.close()


def test_a_session_of_a_name_is_taken_up_after_a_kill(tmp_path: Path) -> None:
    name, blob = "ab" * 16, os.urandom(3 * LEAF_BYTES)
    uploads = Uploads(DiskStore(tmp_path))
    assert uploads.resume(name) == 0
    uploads.append(name, 0, blob[: 2 * LEAF_BYTES + 5])
    uploads = Uploads(DiskStore(tmp_path))
    assert uploads.resume(name) == 2 * LEAF_BYTES + 5
    hashes = metainfo_of(blob).piece_hashes
    assert tuple(uploads.whole_pieces(name, LEAF_BYTES, 0)) == hashes[:2]
    assert tuple(uploads.whole_pieces(name, LEAF_BYTES, 1)) == hashes[1:2]
    uploads.append(name, 2 * LEAF_BYTES + 5, blob[2 * LEAF_BYTES + 5 :])
    assert uploads.prove(name, Digest.of(blob)) == hashes
    fd = uploads.file(name)
    uploads.commit(name, Digest.of(blob))
    assert os.pread(fd, len(blob), 0) == blob  # Readers of the session need not begin anew.
    os.close(fd)


def test_a_session_that_proves_to_be_another_blob_is_over(tmp_path: Path) -> None:
    uploads, name = Uploads(DiskStore(tmp_path)), "cd" * 16
    uploads.resume(name)
    uploads.append(name, 0, b"right")
    with pytest.raises(InvalidDigest):
        uploads.prove(name, Digest.of(b"wrong"))
    with pytest.raises(NotFound):
        uploads.file(name)
    assert uploads.resume(name) == 0
