"""Folders in memory, for tests and measurements whose disk is not what they are about."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

SHARED = Path("/dev/shm")
PREFIX = "octopull-memory-"


def folder_in_memory(shared: Path = SHARED) -> TemporaryDirectory[str]:
    """An empty folder; on disk where there is no ``shared``.

    What killed processes left goes, too: the kernel keeps files there until somebody removes
    them, and a few runs that were killed fill the memory of the machine.
    """
    if not shared.is_dir():
        shared = Path(gettempdir())
    for folder in shared.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", owner).is_dir():
            shutil.rmtree(folder, ignore_errors=True)
    return TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=shared)
