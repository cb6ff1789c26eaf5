"""Blobs that arrive in pieces, in any order, and outlive a restart.

    root/partial/<algorithm>-<hex>.data      the bytes, at their offsets
    root/partial/<algorithm>-<hex>.meta      the metainfo they are proven against
    root/partial/<algorithm>-<hex>.pieces    one byte per piece: 1 once it was proven and written

After a restart a marked piece is hashed again before it counts: neither mark nor bytes are
synced one by one, so either may be lost or torn. Of a blob whose metainfo still grows, nothing
outlives a restart.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from octopull.blob.hashing import hash_piece
from octopull.blob.metainfo import Metainfo
from octopull.blob.outline import Outline
from octopull.blob.start import Described
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, InvalidDigest
from octopull.storage import durable
from octopull.storage.disk import DiskStore
from octopull.storage.durable import disk_faults

READ_BYTES = 1024 * 1024
_MARK = b"\x01"
_SUFFIXES = (".data", ".meta", ".pieces")


class Partial:
    """One blob on its way in. Calls block; ``write`` may come from several threads at once,
    all else from one at a time. One ``Partial`` per digest may be open.
    """

    def __init__(
        self, store: DiskStore, described: Described, paths: tuple[Path, Path, Path],
        fds: tuple[int, int],
    ) -> None:  # fmt: skip
        self.outline: Outline = described.outline
        self.have = 0
        self._hashes = list(described.piece_hashes)
        self._store = store
        self._data, self._meta, self._pieces = paths
        self.fd, self._marks_fd = fds
        self._hasher = described.digest.algorithm.hasher()
        self._hashed = 0
        self._lock = threading.Lock()
        self._open = True

    @classmethod
    def open(cls, store: DiskStore, described: Described) -> Self:
        """Begin a blob, or go on with what an earlier process proved of it.

        Growing metainfo must begin with the first piece.
        """
        data, meta, pieces = (_path(store, described.digest, suffix) for suffix in _SUFFIXES)
        with disk_faults("opening a partial blob"):
            if not isinstance(described, Metainfo):
                remove(store, described.digest)
            elif not _same(meta, described):
                remove(store, described.digest)
                durable.put(meta, described.encode())
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            data_fd = os.open(data, flags, 0o600)
            try:
                marks_fd = os.open(pieces, flags, 0o600)
            except BaseException:
                os.close(data_fd)
                raise
            partial = cls(store, described, (data, meta, pieces), (data_fd, marks_fd))
            try:
                os.ftruncate(data_fd, described.outline.layout.size)
                os.ftruncate(marks_fd, described.outline.layout.count)
                partial._reprove()
            except BaseException:
                partial.close()
                raise
        return partial

    @property
    def known(self) -> int:
        """Pieces whose hashes are known, counted from the first."""
        return len(self._hashes)

    @property
    def metainfo(self) -> Metainfo:
        """The blob's metainfo, all of which must be known."""
        return Metainfo(self.outline.digest, self.outline.layout, tuple(self._hashes))

    def learn(self, first: int, piece_hashes: Sequence[bytes]) -> None:
        """Hashes of the pieces from ``first`` on; what is known already is left as it is."""
        self._hashes += piece_hashes[self.known - first :] if first <= self.known else ()

    def seal(self) -> None:
        """All hashes are known now: pieces outlive a restart."""
        with disk_faults("writing metainfo"):
            durable.put(self._meta, self.metainfo.encode())

    def _reprove(self) -> None:
        marks = os.pread(self._marks_fd, self.outline.layout.count, 0)
        for piece, mark in enumerate(marks):
            if mark:
                offset, length = self.outline.layout.span(piece)
                content = os.pread(self.fd, length, offset)
                if hash_piece(content) == self._hashes[piece]:
                    self.have |= 1 << piece
                else:
                    os.pwrite(self._marks_fd, b"\x00", piece)

    def write(self, piece: int, content: memoryview) -> bool:
        """Prove ``content`` (exactly one piece) and write it; False, and nothing written, if
        its hash is wrong.
        """
        if hash_piece(content) != self._hashes[piece]:
            return False
        with disk_faults("writing a piece"):
            durable.pwrite_all(self.fd, content, self.outline.layout.span(piece)[0])
            os.pwrite(self._marks_fd, _MARK, piece)
        with self._lock:
            self.have |= 1 << piece
        return True

    def advance(self, prefix_bytes: int) -> None:
        """Let the digest catch up with the first ``prefix_bytes`` bytes, all of them proven."""
        with disk_faults("hashing a blob"):
            while self._hashed < prefix_bytes:
                count = min(READ_BYTES, prefix_bytes - self._hashed)
                chunk = os.pread(self.fd, count, self._hashed)
                if not chunk:
                    raise Corrupt("the partial file ends early", at=self._hashed)
                self._hasher.update(chunk)
                self._hashed += len(chunk)

    def prove(self) -> None:
        """Check the digest of the whole, every byte of which must be there.

        Raises:
            Corrupt: every piece matched, the digest of the whole does not; the file goes.

        """
        self.advance(self.outline.layout.size)
        if self._hasher.hexdigest() != self.outline.digest.hex:
            with disk_faults("discarding a blob"):
                self.discard()
            raise Corrupt("the whole has another digest", digest=str(self.outline.digest))

    def commit(self) -> None:
        """Make it a blob of the store; durable when this returns. ``fd`` stays open.

        Raises:
            Corrupt: as ``prove``.

        """
        self.prove()
        with disk_faults("committing a blob"):
            self._store.adopt(self._data, self.fd, self.metainfo)
            self._forget()

    def close(self) -> None:
        """Close the files and keep them for a later ``open``; may be called twice."""
        if self._open:
            self._open = False
            os.close(self.fd)
            os.close(self._marks_fd)

    def discard(self) -> None:
        """Remove the files; ``fd`` stays open until ``close``."""
        self._data.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        self._pieces.unlink(missing_ok=True)
        self._meta.unlink(missing_ok=True)


def idle(store: DiskStore, before_s: float) -> list[Digest]:
    """Partial blobs not written to since ``before_s`` (seconds since the epoch)."""
    found: list[Digest] = []
    for path in store.partial_root.glob("*.data"):
        try:
            if path.stat().st_mtime < before_s:
                found.append(Digest.parse(path.stem.replace("-", ":")))
        except (FileNotFoundError, InvalidDigest):
            continue
    return found


def remove(store: DiskStore, digest: Digest) -> None:
    """Delete what there is of a partial blob, which nobody may have open."""
    for suffix in _SUFFIXES:
        _path(store, digest, suffix).unlink(missing_ok=True)


def _path(store: DiskStore, digest: Digest, suffix: str) -> Path:
    return store.partial_root / f"{digest.algorithm}-{digest.hex}{suffix}"


def _same(path: Path, metainfo: Metainfo) -> bool:
    try:
        return path.read_bytes() == metainfo.encode()
    except FileNotFoundError:
        return False
