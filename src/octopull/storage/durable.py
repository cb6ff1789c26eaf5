"""Files that survive kill -9 and power loss: written, synced, then renamed into place."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octopull.kernel.errors import Unavailable


@contextmanager
def disk_faults(doing: str) -> Iterator[None]:
    """Turn what the disk refuses into ``Unavailable``, naming what was being done."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the disk failed while {doing}: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Make renames within ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Create ``folder`` durably, with its parents."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def put(path: Path, content: bytes, *, like: Path | None = None, mode: int = 0o666) -> None:
    """Write ``content`` to ``path``, whole or not at all; owned and guarded ``like`` a file.

    Without one it is guarded by ``mode``, as far as the process's umask lets it.
    """
    temporary = path.with_name(f"{path.name}.{os.urandom(6).hex()}{TEMPORARY}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            if like is not None:
                told = like.stat()
                os.fchown(file.fileno(), told.st_uid, told.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(told.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def pwrite_all(fd: int, content: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of ``content`` at ``offset``."""
    view = memoryview(content)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


TEMPORARY = ".tmp"
"""The ending of files that are not whole; they are removed at the next start."""
