"""Memory that the machine has already.

A virtual machine's host may take free memory away, and give it back page by page when it is used: then the
page cache's first bytes cost ten times what they cost later (measured: 2.4 CPU-s/GiB for 0.2), whoever
writes them, and the runs that find such memory are told from others by luck.
"""

from pathlib import Path

BLOCK = bytes(1 << 20)


def touch(folder: Path, size: int) -> None:
    """Have the kernel hold ``size`` bytes (rounded down to MiB) that are free, and in no need of
    being fetched, for some seconds: what is written in ``folder`` next goes there.
    """
    path = folder / "touched"
    with path.open("wb", buffering=0) as file:
        for _ in range(size // len(BLOCK)):
            file.write(BLOCK)
    path.unlink()
