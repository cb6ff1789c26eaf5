"""Whole blobs on a local disk, by digest.

    root/blobs/<algorithm>/<2 hex>/<hex>         the bytes: there, so whole and proven
    root/blobs/<algorithm>/<2 hex>/<hex>.*       its side files (storage/sides.py)
    root/partial/, root/uploads/                 blobs on their way in
    root/committed/                              what became of uploads (storage/committed.py)
    root/damaged/<algorithm>-<hex>               what the disk made of a blob

Paths are made from ``Digest`` values alone, so no input can leave the root.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from octopull.blob.hashing import LeafHasher
from octopull.blob.metainfo import Metainfo, describe
from octopull.blob.start import INLINE_BYTES_MAX, Inline
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound, TooLarge, Unavailable
from octopull.observability import logs, metrics
from octopull.storage import durable, entry, sides
from octopull.storage.blob_file import BlobFile
from octopull.storage.durable import disk_faults
from octopull.storage.entry import Entry
from octopull.storage.pins import Pins
from octopull.storage.proofs import Proofs, identity, prove
from octopull.storage.shelves import Shelves

log = logs.get("storage")
READ_BYTES = 1024 * 1024
NS_PER_S = 1_000_000_000


class DiskStore:
    """The blobs under one root. Calls block and may come from any thread.

    Invariants: a file under its digest is whole and was proven; a pinned blob stays,
    unless the disk has damaged it.

    A blob is *touched* when it is stored, stored again, or kept: the file's modification time
    says when, by ``now_ns`` (nanoseconds since the epoch), and changes under the lock alone.
    """

    def __init__(self, root: Path, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.root = root
        self.now_ns = now_ns
        self.partial_root = root / "partial"
        self.uploads_root = root / "uploads"
        self.damaged_root = root / "damaged"
        self.on_damaged: Callable[[Digest], None] = lambda _: None
        """Told, by any thread, of a blob that was set aside."""
        self._proofs = Proofs()
        self._pins = Pins()
        self._lock = threading.Lock()
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

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here; raises as ``stat`` if nobody can tell."""
        with suppress(NotFound):
            self.stat(digest)
            return True
        return False

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
                _, proof = self._proofs.stamp(digest, fd, read_ns=time.time_ns())
                blob = BlobFile(digest, fd, self._pins.drop, proof, self._prove)
            except BaseException:
                os.close(fd)
                raise
            self._pins.add(digest)
            return blob

    def accessed(self, digest: Digest, at_s: float) -> None:
        """Note an access at ``at_s`` (seconds since the epoch); a blob that is gone is no fault."""
        with self._lock, disk_faults("noting an access"), suppress(FileNotFoundError):
            self._proofs.stamp(digest, self.path(digest), read_ns=int(at_s * NS_PER_S))

    def read(self, digest: Digest, bytes_max: int) -> bytes:
        """The whole blob.

        Raises:
            NotFound: it isn't here. TooLarge: it is beyond ``bytes_max``. Corrupt: the disk has
                damaged it; it is none any more.

        """
        with self.open(digest) as blob:
            if blob.size > bytes_max:
                raise TooLarge("the blob is beyond the limit", bytes_max=bytes_max)
            content = blob.read(0, blob.size)
            if not digest.proves(content):
                raise self._damaged(blob)
            return content

    def _prove(self, blob: BlobFile, offset: int) -> None:
        """Prove some of an open blob, by its metainfo; if that is wrong, by its digest."""
        try:
            prove(blob.fd, self.metainfo(blob.digest), blob.proof, offset)
        except Corrupt:
            prove(blob.fd, self._remake_metainfo(blob.digest), blob.proof, offset)

    def _damaged(self, blob: BlobFile) -> Corrupt:
        self.set_aside(blob.digest, blob.fd, "it has another digest")
        return Corrupt("the disk has damaged a blob", digest=str(blob.digest))

    def metainfo(self, digest: Digest) -> Metainfo:
        """The blob's metainfo, made anew from the bytes if its file is lost or damaged.

        Raises:
            NotFound: the blob isn't here. Corrupt: the disk has damaged it.

        """
        size = self.stat(digest)
        try:
            metainfo = Metainfo.decode(sides.meta(self.path(digest)).read_bytes())
            if metainfo.digest == digest and metainfo.layout.size == size:
                return metainfo
        except (FileNotFoundError, Corrupt):
            pass
        return self._remake_metainfo(digest)

    def start(self, digest: Digest) -> Inline | Metainfo:
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
        hasher, whole = LeafHasher(), digest.algorithm.hasher()
        with self.open(digest) as blob:
            for offset in range(0, blob.size, READ_BYTES):
                chunk = blob.read(offset, READ_BYTES)
                hasher.update(chunk)
                whole.update(chunk)
            if whole.hexdigest() != digest.hex:
                raise self._damaged(blob)
            metainfo = describe(digest, blob.size, hasher)
            with disk_faults("writing metainfo"):
                durable.put(sides.meta(self.path(digest)), metainfo.encode())
        return metainfo

    def adopt(
        self, file: Path, fd: int, metainfo: Metainfo, *, lone: bool = False,
        unspread: bool = False, touched_ns: int | None = None,
    ) -> None:  # fmt: skip
        """Move a whole, proven file in; durable when this returns.

        ``fd`` is ``file`` open for writing. If the blob is here already, ``file`` goes. A
        ``lone`` blob is never collected, until it is released. A blob that is new here may be
        marked as ``unspread``, and counts as touched at ``touched_ns``: now, if that is not given.
        """
        target = self.path(metainfo.digest)
        with disk_faults("storing a blob"):
            durable.make_folder(target.parent)
            os.fsync(fd)
            with self._lock:
                if lone:
                    durable.put(sides.lone(target), b"")
                if target.exists():
                    if touched_ns is None:
                        self._touch(metainfo.digest)
                    file.unlink(missing_ok=True)
                else:
                    durable.put(sides.meta(target), metainfo.encode())
                    if unspread:
                        sides.unspread(target).touch()
                    now_ns = self.now_ns() if touched_ns is None else touched_ns
                    os.utime(file, ns=(file.stat().st_atime_ns, now_ns))
                    file.rename(target)
                    self._proofs.adopted(metainfo, identity(target.stat()))
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
                self._remove(digest)
            except FileNotFoundError:
                raise NotFound("no such blob here", digest=str(digest)) from None

    def aside(self, digest: Digest) -> Path:
        """Where a damaged blob goes."""
        return self.damaged_root / f"{digest.algorithm}-{digest.hex}"

    def set_aside(self, digest: Digest, fd: int, reason: str) -> bool:
        """Take a blob out that was found damaged when its file was read through ``fd``.

        It is no blob any more, even while others read it; a person may want what is left of it.
        ``on_damaged`` is told. False, and nothing happens, if it is gone or another file has its
        place by now.
        """
        path, aside = self.path(digest), self.aside(digest)
        with self._lock, disk_faults("setting a damaged blob aside"):
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(fd)):
                return False
            durable.make_folder(self.damaged_root)
            aside.unlink(missing_ok=True)
            aside.hardlink_to(path)
            durable.sync_folder(self.damaged_root)
            self._remove(digest)
            durable.sync_folder(path.parent)
        metrics.BLOBS_DAMAGED.inc()
        log.error("blob.damaged", digest=str(digest), reason=reason)
        self.on_damaged(digest)
        return True

    # Eviction of what is elsewhere, too (docs/backends.md).

    def mark_backed(self, digest: Digest, namespace: str) -> None:
        """Remember that storage that is not ours has the blob, and under which namespace.

        Raises:
            NotFound: it isn't here.

        """
        path = self.path(digest)
        with disk_faults("marking a blob"):
            with self._lock:
                # Under the lock, so that no mark outlives its blob.
                if not path.exists():
                    raise NotFound("no such blob here", digest=str(digest))
                fd = sides.note_backed(path, namespace)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            durable.sync_folder(path.parent)

    def backed_under(self, digest: Digest) -> list[str]:
        """The namespaces that ``mark_backed`` was told of the blob; none if it isn't here."""
        with disk_faults("looking up where a blob is"):
            return sides.backed_under(self.path(digest))

    def evict(self, digest: Digest, before_ns: int) -> int | None:
        """Remove a backed blob last touched before ``before_ns``; its size in bytes.

        None if it stays, which it does while it is pinned.
        """
        with self._lock, disk_faults("evicting a blob"):
            path = self.path(digest)
            try:
                stat = path.stat()
            except FileNotFoundError:
                return None
            if stat.st_mtime_ns >= before_ns or digest in self._pins:
                return None
            if not sides.backed(path).exists():
                return None
            self._remove(digest)
            return stat.st_size

    # Garbage collection (docs/delete.md).

    def keep(self, digest: Digest, *, lone: bool = False) -> int | None:
        """Touch a blob, and let it be ``lone``; returns its size in bytes, None if it isn't here."""
        with self._lock, disk_faults("keeping a blob"):
            path = self.path(digest)
            size = self._touch(digest)
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
                self._remove(digest)
            return size

    def _remove(self, digest: Digest) -> None:
        """Every blob goes this way, with the lock held. Raises FileNotFoundError: it isn't there."""
        self._proofs.forget(digest)
        sides.unlink(self.path(digest))

    def _takeable(self, digest: Digest, before_ns: int) -> int | None:
        path = self.path(digest)
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        touched = stat.st_mtime_ns >= before_ns
        stays = touched or digest in self._pins or sides.lone(path).exists()
        return None if stays else stat.st_size

    def _touch(self, digest: Digest) -> int | None:
        """Size in bytes, None if the blob isn't here; the lock must be held."""
        with suppress(FileNotFoundError):
            size, _ = self._proofs.stamp(digest, self.path(digest), touched_ns=self.now_ns())
            return size
        return None

    def digests(self, after: Digest | None = None, shelf: str = "") -> Iterator[Digest]:
        """Every blob behind ``after``, in order; those that come or go meanwhile may be missed.

        ``shelf`` limits them to those whose hexadecimal characters begin with these two.
        """
        return self._shelves.digests(after, shelf)

    def entry(self, digest: Digest) -> Entry | None:
        """What is known of a blob; None if it isn't here."""
        return entry.look(digest, self.path(digest), pinned=digest in self._pins)

    def entries(self) -> Iterator[Entry]:
        """Every blob, in no order; those that go meanwhile may be missed."""
        yield from filter(None, map(self.entry, self.digests()))
