"""A folder's files under keys, whole and durable: the blocking part of backends/files.py.

Everything below the root is reached from open folder to open folder, and no symbolic link is
followed, so no key and nothing that others lay there leads out of the root.
"""

import errno
import fcntl
import os
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType

from octopull.backends.contract import check_key
from octopull.kernel.errors import Changed, InvalidName, NotFound, Unavailable
from octopull.storage.durable import disk_faults

OURS = "~octopull"
NAME_BYTES_MAX = 255
"""Of each part of a key: what file systems allow."""

LOCKS = 256
ATTEMPTS_MAX = 16
"""At placing a file while others remove the empty folder that it belongs into."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Whoever lays a pipe there must not make us wait for its other end.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_SUCH = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class Arriving:
    """An open file on its way in. It is locked: one that isn't was left by the dead."""

    fd: int
    name: str

    def write(self, chunk: bytes) -> None:
        """Append."""
        with disk_faults("storing an object"):
            view = memoryview(chunk)
            while view:
                view = view[os.write(self.fd, view) :]

    def sync(self) -> None:
        """Make the bytes durable, and its version another than that of any before."""
        with disk_faults("storing an object"):
            now_ns = time.time_ns()  # The file system's own clock may only tick 250 times a second.
            os.utime(self.fd, ns=(now_ns, now_ns))
            os.fsync(self.fd)


class Tree:
    """The files under one root, which must be there: a disk that isn't mounted is not empty.

    Calls block, and may come from any thread. All but ``check`` and ``version`` raise Unavailable
    if the disk fails.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @staticmethod
    def check(key: str) -> str:
        """``key`` itself. Raises InvalidName: it is none, or a part of it is too long for files."""
        if any(len(part) > NAME_BYTES_MAX for part in check_key(key).split("/")):
            raise InvalidName("a part of the key is too long for a file's name", key=key[:80])
        return key

    @staticmethod
    def version(found: os.stat_result) -> str:
        """Another one after each change."""
        return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"

    def stat(self, key: str) -> os.stat_result:
        """Raises NotFound."""
        *folder, name = key.split("/")
        with _reading(), self._opened(folder) as at:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            raise NotFound("no such object")
        return found

    def open(self, key: str) -> int:
        """A descriptor of the file, which the caller closes. Raises NotFound."""
        *folder, name = key.split("/")
        with _reading(), self._opened(folder) as at:
            fd = os.open(name, _FILE, dir_fd=at)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NotFound("no such object")
        return fd

    def names(self, folder: str) -> list[str]:
        """What is in ``folder`` (empty, or with a slash behind) under names that keys can have.

        In order of bytes; names of folders have a slash behind. No such folder: nothing.
        """
        found: list[str] = []
        with suppress(NotFound), _reading(), self._opened(folder.split("/")[:-1]) as at:
            for entry in os.scandir(at):
                with suppress(InvalidName):
                    self.check(folder + entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        found.append(entry.name + "/")
                    elif entry.is_file(follow_symlinks=False):
                        found.append(entry.name)
        return sorted(found, key=lambda name: name.rstrip("/"))

    def arrive(self) -> Arriving:
        """An empty file, which the caller places or discards."""
        with disk_faults("storing an object"), self._opened([OURS, "put"], make=True) as at:
            while True:
                name = os.urandom(16).hex()
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666,
                             dir_fd=at)  # fmt: skip
                with ExitStack() as undo:
                    undo.callback(os.close, fd)
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    if os.fstat(fd).st_nlink:  # Nobody swept it before it was locked.
                        undo.pop_all()
                        return Arriving(fd, name)

    def discard(self, arriving: Arriving) -> None:
        """Forget it; one that was placed stays."""
        os.close(arriving.fd)
        with (
            disk_faults("removing a file"),
            self._opened([OURS, "put"]) as at,
            suppress(FileNotFoundError),
        ):
            os.unlink(arriving.name, dir_fd=at)

    def sweep(self) -> None:
        """Remove what processes that died had on its way in."""
        with disk_faults("removing a file"), self._opened([OURS, "put"], make=True) as at:
            for entry in os.scandir(at):
                with suppress(FileNotFoundError, BlockingIOError):
                    fd = os.open(entry.name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        os.unlink(entry.name, dir_fd=at)
                    finally:
                        os.close(fd)

    def place(self, arriving: Arriving, key: str, expected: str | EllipsisType | None) -> bool:
        """Let ``arriving``, which is synced, be the object, if that has the ``expected`` version.

        None: there is no object; ``...``: whatever there is. False: others are at it, try again.

        Raises:
            Changed: it has another version.

        """
        with self._locked(key) as ours, disk_faults("storing an object"):
            if not ours:
                return False
            if expected is not ... and self._present(key) != expected:
                raise Changed("the object is another version")
            for attempt in range(1, ATTEMPTS_MAX + 1):
                try:
                    self._rename(arriving, key)
                except FileNotFoundError:
                    if attempt == ATTEMPTS_MAX:
                        raise
                else:
                    break
        return True

    def remove(self, key: str) -> bool:
        """Delete, with the folders that are then empty. False: others are at it, try again."""
        *folder, name = key.split("/")
        with self._locked(key) as ours:
            if not ours:
                return False
            with suppress(NotFound), _reading(), self._opened(folder) as at:
                if stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=at)
                    os.fsync(at)
        with suppress(OSError):  # Such as one that isn't empty.
            while folder:
                last = folder.pop()
                with self._opened(folder) as at:
                    os.rmdir(last, dir_fd=at)
        return True

    def _present(self, key: str) -> str | None:
        try:
            return self.version(self.stat(key))
        except NotFound:
            return None

    def _rename(self, arriving: Arriving, key: str) -> None:
        *folder, name = key.split("/")
        with self._opened([OURS, "put"]) as put, self._opened(folder, make=True) as at:
            os.rename(arriving.name, name, src_dir_fd=put, dst_dir_fd=at)
            os.fsync(at)

    @contextmanager
    def _locked(self, key: str) -> Iterator[bool]:
        """Whether nobody else replaces the object now, here or elsewhere."""
        with ExitStack() as opened:
            with disk_faults("locking an object"):
                at = opened.enter_context(self._opened([OURS, "locks"], make=True))
                name = f"{zlib.crc32(key.encode()) % LOCKS:02x}"
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666,
                             dir_fd=at)  # fmt: skip
                opened.callback(os.close, fd)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    ours = True
                except BlockingIOError:
                    ours = False
            yield ours

    @contextmanager
    def _opened(self, names: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the root."""
        try:
            at = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(
                f"the folder of the store can't be opened: {error.strerror}", path=str(self._root)
            ) from error
        try:
            for name in names:
                if make:
                    _make(name, at)
                below = os.open(name, _FOLDER, dir_fd=at)
                os.close(at)
                at = below
            yield at
        finally:
            os.close(at)


@contextmanager
def _reading() -> Iterator[None]:
    """What isn't there, or isn't what its place demands, is no object."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SUCH:
            raise NotFound("no such object") from None
        raise Unavailable(f"the disk failed while reading: {error.strerror}") from error


def _make(name: str, at: int) -> None:
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=at)
        os.fsync(at)
