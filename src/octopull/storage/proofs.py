"""Which pieces of stored files were proven lately: what leaves the disk is no surer than the disk.

A file is read again, piece by piece, before its bytes are given to a client, unless that was done
within ``PROVEN_S`` and nobody else has changed the file since. So what is sent all the time costs
nothing, and what has lain on a disk for long is proven on its way.
"""

import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from octopull.blob.hashing import hash_piece
from octopull.blob.layout import Layout
from octopull.blob.metainfo import Metainfo
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt
from octopull.storage.durable import disk_faults

PROVEN_S = 600.0
FILES_MAX = 20_000
AT_ONCE_BYTES = 8 * 1024 * 1024
"""Proven in one go, while the client waits."""

Identity = tuple[int, int, int, int]


def identity(stat: os.stat_result) -> Identity:
    """What changes when a file is written, renamed or has its times set."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@dataclass(slots=True)
class Proof:
    """Pieces of one file that were proven since ``since_s``, as the bits of ``pieces``."""

    identity: Identity
    since_s: float
    layout: Layout | None = None
    pieces: int = 0

    def end(self, offset: int) -> int | None:
        """Where the proven run around ``offset`` ends; None if that isn't proven."""
        if self.layout is None or time.monotonic() - self.since_s > PROVEN_S:
            return None
        piece = self.layout.piece_at(offset)
        ahead = self.pieces >> piece
        run = (~ahead & (ahead + 1)).bit_length() - 1
        return self.layout.prefix_bytes(piece + run) if run else None

    def add(self, layout: Layout, first: int, count: int) -> None:
        """``count`` pieces from ``first`` on were proven just now."""
        now_s = time.monotonic()
        if self.layout != layout or now_s - self.since_s > PROVEN_S:
            self.layout, self.pieces, self.since_s = layout, 0, now_s
        self.pieces |= ((1 << count) - 1) << first


class Proofs:
    """The proofs of a store's files. Calls may come from any thread."""

    def __init__(self) -> None:
        self._proofs: OrderedDict[Digest, Proof] = OrderedDict()
        self._lock = threading.Lock()

    def stamp(
        self, digest: Digest, file: Path | int, *, read_ns: int | None = None,
        touched_ns: int | None = None,
    ) -> tuple[int, Proof]:  # fmt: skip
        """Set times of a blob's file (nanoseconds since the epoch): its size in bytes, and its proof."""
        before = os.stat(file)  # noqa: PTH116 - a path or a file number
        times = before.st_atime_ns if read_ns is None else read_ns, touched_ns or before.st_mtime_ns
        os.utime(file, ns=times)
        after = os.stat(file)  # noqa: PTH116
        return before.st_size, self._restamped(digest, identity(before), identity(after))

    def _restamped(self, digest: Digest, before: Identity, after: Identity) -> Proof:
        """We set the file's times: what was proven of it is, if it was as ``before`` until then."""
        with self._lock:
            proof = self._proofs.get(digest)
            if proof is None or proof.identity != before:
                proof = self._proofs[digest] = Proof(after, time.monotonic())
            proof.identity = after
            self._proofs.move_to_end(digest)
            while len(self._proofs) > FILES_MAX:
                self._proofs.popitem(last=False)
            return proof

    def adopted(self, metainfo: Metainfo, found: Identity) -> None:
        """All of a file was proven on its way in."""
        proof = self._restamped(metainfo.digest, found, found)
        if metainfo.layout.count:
            proof.add(metainfo.layout, 0, metainfo.layout.count)

    def forget(self, digest: Digest) -> None:
        """The file is gone."""
        with self._lock:
            self._proofs.pop(digest, None)


def prove(fd: int, metainfo: Metainfo, proof: Proof, offset: int) -> None:
    """Read the piece at ``offset`` and some behind it, and prove them.

    Raises:
        Corrupt: the disk has damaged the first of them. Unavailable: it can't be read.

    """
    layout = metainfo.layout
    first = layout.piece_at(offset)
    last = min(layout.count, first + max(1, AT_ONCE_BYTES // layout.piece_length))
    proven = 0
    for piece in range(first, last):
        if not _is_whole(fd, metainfo, piece):
            break
        proven += 1
    if not proven:
        raise Corrupt("the disk has damaged a blob", digest=str(metainfo.digest))
    proof.add(layout, first, proven)


def _is_whole(fd: int, metainfo: Metainfo, piece: int) -> bool:
    start, length = metainfo.layout.span(piece)
    with disk_faults("reading a blob"):
        if hash_piece(os.pread(fd, length, start)) == metainfo.piece_hashes[piece]:
            return True
        # Once more, from the disk: a read may go wrong where the disk has not.
        os.posix_fadvise(fd, start, length, os.POSIX_FADV_DONTNEED)
        return hash_piece(os.pread(fd, length, start)) == metainfo.piece_hashes[piece]
