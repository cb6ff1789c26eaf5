"""An origin killed again and again while it takes pushes and writes them back.

OCTOPULL_LARGE=1 kills it 50 times over 100,000 blobs, in memory, which takes some minutes; run
pytest with ``-o faulthandler_timeout=0`` then.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from octopull.blob.metainfo import Metainfo
from octopull.kernel.digest import Digest
from octopull.storage.disk import DiskStore
from support import pushing
from support.memory import folder_in_memory

LARGE = bool(os.environ.get("OCTOPULL_LARGE"))
BLOBS, KILLS = (100_000, 50) if LARGE else (1500, 8)
EVENTS_PER_BLOB = 3
SEED = 6


def run(root: Path, first: int, kill_after: int | None) -> list[str]:
    """What one process did until it was killed, or was done."""
    words = [sys.executable, pushing.__file__, str(root), str(first), str(BLOBS)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.strip())
        if len(lines) == kill_after:
            process.kill()
    process.stdout.close()
    assert process.wait() == (0 if kill_after is None else -9)
    return lines


def test_each_acknowledged_blob_reaches_the_backend_once_however_often_it_is_killed() -> None:
    chance = random.Random(SEED)
    moments = sorted(chance.sample(range(1, BLOBS * EVENTS_PER_BLOB - KILLS), KILLS))
    started_s, kills = time.monotonic(), 0
    with folder_in_memory() as folder:
        root, lines, first = Path(folder), list[str](), 0
        for moment in moments:
            lines += run(root, first, max(1, moment - len(lines)))
            kills += 1
            first = next_number(lines)
        lines += run(root, first, None)
        said = Counter(line.split()[0] for line in lines)
        puts = [line.split() for line in lines if line.startswith("put ")]
        needless = sum(there == "1" for _, _, there in puts)
        figures = f"{BLOBS} blobs, {kills} kills, {dict(said)}, needless {needless}"
        print(figures, f"{time.monotonic() - started_s:.0f} s")
        assert kills == KILLS
        check_all_there(root)
        assert not said["bare"], figures
        assert needless < BLOBS / 100, figures
        # A put that a kill broke off is not needless, and there are few.
        assert len(puts) <= BLOBS + KILLS * 16, figures


def next_number(lines: list[str]) -> int:
    """The first blob that was not acknowledged: a client would push it again."""
    acked = {int(line.split()[1]) for line in lines if line.startswith("acked ")}
    return next(number for number in range(BLOBS + 1) if number not in acked)


def check_all_there(root: Path) -> None:
    store = DiskStore(root / "origin")
    backed = {entry.digest for entry in store.entries() if entry.backed}
    for number in range(BLOBS):
        content = pushing.blob(number)
        digest = Digest.of(content)
        path = root / "backend" / digest.hex
        assert path.read_bytes() == content
        assert Metainfo.decode(path.with_suffix(".metainfo").read_bytes()).digest == digest
        assert digest in backed
    assert len(backed) == BLOBS
