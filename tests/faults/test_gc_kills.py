"""An origin killed in the midst of a collection."""

import subprocess
import sys
from pathlib import Path

import pytest

from octopull.kernel.digest import Digest
from octopull.storage.disk import DiskStore
from support import collector

COLLECTOR = Path(collector.__file__)


@pytest.mark.parametrize("moment", [1, 7, 30, 59])
def test_a_collection_killed_at_any_moment_leaves_whole_blobs_and_can_be_repeated(
    tmp_path: Path, moment: int
) -> None:
    store = DiskStore(tmp_path)
    blobs = {Digest.of(blob): blob for blob in collector.blobs()}
    for digest, blob in blobs.items():
        store.put(digest, blob)
        store.metainfo(digest)
    process = subprocess.Popen(
        [sys.executable, COLLECTOR, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for number, _ in enumerate(process.stdout, 1):
        if number == moment:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    store = DiskStore(tmp_path)
    left = {entry.digest for entry in store.entries()}
    assert len(left) <= len(blobs) - moment + 1
    for digest in left:
        assert store.read(digest, 100) == blobs[digest]
        assert store.metainfo(digest).layout.size == len(blobs[digest])
    names = {path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()}
    assert names == {f"{digest.hex}{side}" for digest in left for side in ("", ".meta")}
    for digest in left:
        assert store.collect(digest, store.now_ns()) == len(blobs[digest])
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
