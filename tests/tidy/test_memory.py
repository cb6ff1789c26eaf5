"""Runs that were killed do not fill the machine's memory."""

import os
import subprocess
import sys
from pathlib import Path

from support.memory import PREFIX, folder_in_memory


def test_what_a_killed_process_left_goes_with_the_next_folder(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left, other = tmp_path / f"{PREFIX}{process.pid}-x", tmp_path / "other"
    for folder in (left, other):
        folder.mkdir()
        (folder / "file").write_bytes(b"x")
    with folder_in_memory(tmp_path) as first, folder_in_memory(tmp_path) as second:
        assert f"{PREFIX}{os.getpid()}-" in first
        assert sorted(tmp_path.iterdir()) == sorted([Path(first), Path(second), other])
    assert list(tmp_path.iterdir()) == [other]
