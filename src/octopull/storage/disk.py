"""Whole blobs on a local disk, by digest.

    root/blobs/<algorithm>/<2 hex>/<hex>         the bytes: there, so whole and proven
    root/blobs/<algorithm>/<2 hex>/<hex>.*       its side files (storage/sides.py)
    root/partial/, root/uploads/                 blobs on their way in

Paths are made from ``Digest`` values alone, so no input can leave the root.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from octopull.blob.hashing import LeafHasher
from octopull.blob.layout import Layout, piece_length_for
from octopull.blob.metainfo import Metainfo
from octopull.blob.start import INLINE_BYTES_MAX, Inline, Start
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound, TooLarge, Unavailable
from octopull.storage import durable, sides
from octopull.storage.durable import disk_faults
from octopull.storage.shelves import Shelves

READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored blob; ``last_access_s`` is seconds since the epoch."""

    digest: Digest
    size: int
    last_access_s: float
    pinned: bool


class BlobFile:
    """An open blob; until it is closed the store neither evicts nor deletes it."""

    def __init__(self, store: "DiskStore", digest: Digest, fd: int) -> None:
        self.digest = digest
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self._store = store
        self._open = True

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes at ``offset``; fewer at the end."""
        with disk_faults("reading a blob"):
            return os.pread(self.fd, count, offset)

    async def proven(self, offset: int) -> int:
        """The end of the proven bytes around ``offset``: all of a stored blob is proven."""
        del offset
        return self.size

    def close(self) -> None:
        """Unpin; may be called twice."""
        if self._open:
            self._open = False
            os.close(self.fd)
            self._store.unpin(self.digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()


class DiskStore:
    """The blobs under one root. Calls block and may come from any thread.

    Invariants: a file under its digest is whole and was proven; a pinned blob stays.

    A blob is *touched* when it is stored, stored again, or kept: the file's modification time
    says when, by ``now_ns`` (nanoseconds since the epoch), and changes under the lock alone.
    """

    def __init__(self, root: Path, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.root = root
        self.now_ns = now_ns
        self.partial_root = root / "partial"
        self.uploads_root = root / "uploads"
        self._pins: dict[Digest, int] = {}
        self._lock = threading.Lock()
        # Of its own, and never held over the disk: readers end on threads that must not wait.
        # Taken within ``_lock`` where both are.
        self._pins_lock = threading.Lock()
        with disk_faults("opening the store"):
            for folder in (self.partial_root, self.uploads_root):
                durable.make_folder(folder)
            self._shelves = Shelves(root / "blobs")

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._shelves.path(digest)

    def stat(self, digest: Digest) -> int:
        """Size in bytes.

        Raises:
            NotFound: it isn't here.

        """
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound("no such blob here", digest=str(digest)) from None
        except OSError as error:
            raise Unavailable(f"cannot look up a blob: {error.strerror}") from error

    def open(self, digest: Digest) -> BlobFile:
        """Open and pin; counts as an access.

        Raises:
            NotFound: it isn't here.

        """
        with self._lock, disk_faults("opening a blob"):
            try:
                fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFound("no such blob here", digest=str(digest)) from None
            try:
                # Under the lock: an older modification time must not overwrite a touch.
                os.utime(fd, ns=(time.time_ns(), os.fstat(fd).st_mtime_ns))
                blob = BlobFile(self, digest, fd)
            except BaseException:
                os.close(fd)
                raise
            with self._pins_lock:
                self._pins[digest] = self._pins.get(digest, 0) + 1
            return blob

    def unpin(self, digest: Digest) -> None:
        """One reader fewer; called by ``BlobFile.close``."""
        with self._pins_lock:
            self._pins[digest] -= 1
            if not self._pins[digest]:
                del self._pins[digest]

    def read(self, digest: Digest, bytes_max: int) -> bytes:
        """The whole blob.

        Raises:
            NotFound: it isn't here. TooLarge: it is beyond ``bytes_max``.

        """
        with self.open(digest) as blob:
            if blob.size > bytes_max:
                raise TooLarge("the blob is beyond the limit", bytes_max=bytes_max)
            return blob.read(0, blob.size)

    def metainfo(self, digest: Digest) -> Metainfo:
        """The blob's metainfo, made anew from the bytes if its file is lost or damaged.

        Raises:
            NotFound: the blob isn't here.

        """
        size = self.stat(digest)
        try:
            metainfo = Metainfo.decode(sides.meta(self.path(digest)).read_bytes())
            if metainfo.digest == digest and metainfo.layout.size == size:
                return metainfo
        except (FileNotFoundError, Corrupt):
            pass
        return self._remake_metainfo(digest)

    def start(self, digest: Digest) -> Start:
        """The blob's bytes if it is of one piece, else its metainfo.

        Raises:
            NotFound: the blob isn't here.

        """
        if self.stat(digest) <= INLINE_BYTES_MAX:
            return Inline(digest, self.read(digest, INLINE_BYTES_MAX))
        return self.metainfo(digest)

    def put(self, digest: Digest, content: bytes) -> None:
        """Store a proven blob from memory; durable when this returns.

        Its metainfo is made when somebody asks for it: small blobs seldom are.
        """
        target = self.path(digest)
        if self.keep(digest) is None:
            with disk_faults("storing a blob"):
                durable.make_folder(target.parent)
                durable.put(target, content)

    def _remake_metainfo(self, digest: Digest) -> Metainfo:
        hasher = LeafHasher()
        with self.open(digest) as blob:
            for offset in range(0, blob.size, READ_BYTES):
                hasher.update(blob.read(offset, READ_BYTES))
            metainfo = describe(digest, blob.size, hasher)
            with disk_faults("writing metainfo"):
                durable.put(sides.meta(self.path(digest)), metainfo.encode())
        return metainfo

    def adopt(self, file: Path, fd: int, metainfo: Metainfo, *, lone: bool = False) -> None:
        """Move a whole, proven file in; durable when this returns.

        ``fd`` is ``file`` open for writing. If the blob is here already, ``file`` goes. A
        ``lone`` blob is never collected, until it is released.
        """
        target = self.path(metainfo.digest)
        with disk_faults("storing a blob"):
            durable.make_folder(target.parent)
            os.fsync(fd)
            with self._lock:
                if lone:
                    durable.put(sides.lone(target), b"")
                if self._touch(target) is None:
                    durable.put(sides.meta(target), metainfo.encode())
                    self._touch(file)
                    file.rename(target)
                else:
                    file.unlink(missing_ok=True)
            # In either case: who put it there may not have come so far yet.
            durable.sync_folder(target.parent)

    def delete(self, digest: Digest) -> None:
        """Remove a blob.

        Raises:
            NotFound: it isn't here. Unavailable: it is being read.

        """
        with self._lock, disk_faults("deleting a blob"):
            if digest in self._pins:
                raise Unavailable("the blob is in use", digest=str(digest))
            try:
                sides.unlink(self.path(digest))
            except FileNotFoundError:
                raise NotFound("no such blob here", digest=str(digest)) from None

    # Garbage collection (docs/delete.md).

    def keep(self, digest: Digest, *, lone: bool = False) -> int | None:
        """Touch a blob, and let it be ``lone``; returns its size in bytes, None if it isn't here."""
        with self._lock, disk_faults("keeping a blob"):
            path = self.path(digest)
            size = self._touch(path)
            if lone and size is not None:
                durable.put(sides.lone(path), b"")
            return size

    def release(self, digest: Digest) -> None:
        """Let a blob be lone no longer.

        Raises:
            NotFound: it isn't here.

        """
        self.stat(digest)
        with self._lock, disk_faults("releasing a blob"):
            path = self.path(digest)
            sides.lone(path).unlink(missing_ok=True)
            durable.sync_folder(path.parent)

    def untouched(
        self, before_ns: int, after: Digest | None, count: int
    ) -> list[tuple[Digest, int]]:
        """A page of the blobs that ``collect`` would take: digest and size in bytes.

        In the order of digests, from the one behind ``after``, at most ``count``.
        """
        found: list[tuple[Digest, int]] = []
        with disk_faults("listing blobs"):
            for digest in self._shelves.digests(after):
                size = self._takeable(digest, before_ns)
                if size is not None:
                    found.append((digest, size))
                if len(found) == count:
                    break
        return found

    def collect(self, digest: Digest, before_ns: int) -> int | None:
        """Remove a blob last touched before ``before_ns``; its size in bytes, None if it stays.

        It stays, too, while it is pinned or lone.
        """
        with self._lock, disk_faults("collecting a blob"):
            size = self._takeable(digest, before_ns)
            if size is not None:
                sides.unlink(self.path(digest))
            return size

    def _takeable(self, digest: Digest, before_ns: int) -> int | None:
        path = self.path(digest)
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        touched = stat.st_mtime_ns >= before_ns
        stays = touched or digest in self._pins or sides.lone(path).exists()
        return None if stays else stat.st_size

    def _touch(self, path: Path) -> int | None:
        """Size in bytes, None if there is no such file; the lock must be held."""
        try:
            stat = path.stat()
            os.utime(path, ns=(stat.st_atime_ns, self.now_ns()))
        except FileNotFoundError:
            return None
        return stat.st_size

    def entries(self) -> Iterator[Entry]:
        """Every blob, in no order; those that go meanwhile may be missed."""
        for digest in self._shelves.digests():
            try:
                stat = self.path(digest).stat()
            except FileNotFoundError:
                continue
            yield Entry(digest, stat.st_size, stat.st_atime, digest in self._pins)

    def disk_share(self) -> tuple[int, int]:
        """Bytes used and bytes in all of the file system the root is on."""
        stat = os.statvfs(self.root)
        return (stat.f_blocks - stat.f_bavail) * stat.f_frsize, stat.f_blocks * stat.f_frsize


def describe(digest: Digest, size: int, hasher: LeafHasher) -> Metainfo:
    """Metainfo of a blob of ``size`` bytes, all of which went through ``hasher``."""
    layout = Layout(size, piece_length_for(size))
    return Metainfo(digest, layout, hasher.piece_hashes(layout.piece_length))
