"""Small disks in memory, which can be made slow where the kernel throttles block devices."""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

MIB = 256
SLOW_OPERATIONS_PER_S = 20
SLOW_BYTES_PER_S = 2_000_000
"""What is left of a disk that is about to die: a small file takes a fifth of a second to sync."""

_THROTTLE = Path("/sys/fs/cgroup/blkio")
_LIMITS = {"iops": SLOW_OPERATIONS_PER_S, "bps": SLOW_BYTES_PER_S}
_COMMANDS = ("losetup", "mkfs.ext4")


def lacking() -> list[str]:
    """What slow disks lack on this machine."""
    missing = [word for word in _COMMANDS if shutil.which(word) is None]
    if not _limit("write", "bps").exists():
        missing.append("the blkio controller")
    return missing


def _limit(way: str, unit: str) -> Path:
    return _THROTTLE / f"blkio.throttle.{way}_{unit}_device"


class Drive:
    """A disk mounted at ``folder``, until ``stack`` is closed; it has a limit if it can."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._device = ""
        if lacking():
            _mount(stack, folder, "-t", "tmpfs", "-o", f"size={MIB}m", "none")
            return
        below = folder.with_name(f"{folder.name}.drive")
        below.mkdir()
        _mount(stack, below, "-t", "tmpfs", "none")
        image = below / "image"
        image.touch()
        os.truncate(image, MIB << 20)
        run("mkfs.ext4", "-q", "-m", "0", str(image))
        loop = run("losetup", "--find", "--show", str(image)).strip()
        stack.callback(attempt, "losetup", "--detach", loop)
        self._device = Path("/sys/block", Path(loop).name, "dev").read_text().strip()
        _mount(stack, folder, loop)
        stack.callback(self.quicken)

    def slow(self) -> None:
        """Let it do little, journal and all, whoever asks."""
        self._throttle(_LIMITS)

    def quicken(self) -> None:
        """Let it be as it was."""
        self._throttle(dict.fromkeys(_LIMITS, 0))

    def _throttle(self, limits: dict[str, int]) -> None:
        for way in ("read", "write"):
            for unit, limit in limits.items():
                _limit(way, unit).write_text(f"{self._device} {limit}")


def _mount(stack: ExitStack, folder: Path, *words: str) -> None:
    run("mount", *words, str(folder))
    stack.callback(attempt, "umount", "-l", str(folder))


def run(*words: str) -> str:
    """Run a command, which must succeed; what it prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def attempt(*words: str) -> None:
    """Run a command, whatever becomes of it."""
    subprocess.run(words, check=False, capture_output=True)
