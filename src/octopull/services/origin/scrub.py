"""Every blob is read again and again, slowly: disks damage what nobody reads.

One that no longer has its digest, or can't be read, is set aside. Then it is lacking, and comes
back as any other copy does: from another origin (repair.py), or from a backend once it is
asked for.
"""

import asyncio
import contextlib
import os
import time
from pathlib import Path

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, InvalidDigest
from octopull.observability import logs, metrics
from octopull.runtime.bandwidth import Bucket, Rate, pay
from octopull.storage import durable
from octopull.storage.disk import READ_BYTES, DiskStore

log = logs.get("origin")
FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOATIME", 0)
"""The kernel would note an access, too, and with it keep every blob from being evicted."""

FILE_BYTES = 256 * 1024
"""What it costs a disk to find a file, in bytes read."""

REST_S = 60.0
"""Between two rounds, of which one over an empty disk takes no time."""

REMEMBER_S = 60.0
"""A start goes on where the last process was about so long before it ended."""


class Scrub:
    """Reads the blobs of ``store`` at ``bytes_per_s``."""

    def __init__(self, store: DiskStore, bytes_per_s: int) -> None:
        self._store = store
        self._bytes_per_s = bytes_per_s
        self._bucket = Bucket(Rate(bytes_per_s))
        self._place = store.root / "scrubbed"

    async def run(self) -> None:
        """Go round and round, until cancelled."""
        while self._bytes_per_s:
            try:
                await self.round()
            except (Fault, OSError) as error:
                log.warning("scrub.broken_off", reason=str(error))
            await asyncio.sleep(REST_S)

    async def round(self) -> None:
        """Read every blob, or all behind the place that the last process had come to.

        Raises:
            Unavailable, OSError: the folders can't be listed, or the place not be noted.

        """
        digests = self._store.digests(await asyncio.to_thread(recall, self._place))
        remember_s = time.monotonic() + REMEMBER_S
        while (digest := await asyncio.to_thread(next, digests, None)) is not None:
            try:
                await self._read(digest)
            except (Fault, OSError) as error:
                log.warning("scrub.failed", digest=str(digest), reason=str(error))
            if time.monotonic() >= remember_s:
                await asyncio.to_thread(durable.put, self._place, str(digest).encode())
                remember_s = time.monotonic() + REMEMBER_S
        await asyncio.to_thread(self._place.unlink, missing_ok=True)

    async def _read(self, digest: Digest) -> None:
        # Not by the store, for which it would be an access.
        try:
            fd = await asyncio.to_thread(_opened, self._store.path(digest))
        except FileNotFoundError:
            return
        try:
            self._bucket.spend(FILE_BYTES)
            reason = await self._fault(digest, fd)
            metrics.BLOBS_SCRUBBED.inc()
            if not reason:
                return
            # Once more, from the disk: a read may go wrong where the disk has not.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            reason = await self._fault(digest, fd)
            if reason:
                await asyncio.to_thread(self._store.set_aside, digest, fd, reason)
        finally:
            os.close(fd)

    async def _fault(self, digest: Digest, fd: int) -> str:
        """What is wrong with the file; nothing if it is the blob."""
        hasher, offset = digest.algorithm.hasher(), 0

        def step() -> int:
            chunk = os.pread(fd, READ_BYTES, offset)
            hasher.update(chunk)
            return len(chunk)

        try:
            while count := await asyncio.to_thread(step):
                offset += count
                await pay(self._bucket, count)
        except OSError as error:
            return f"it can't be read: {error.strerror}"
        return "" if hasher.hexdigest() == digest.hex else "it has another digest"


def _opened(path: Path) -> int:
    try:
        return os.open(path, FLAGS)
    except PermissionError:
        # Somebody else's file may be read, but not so that nobody notices.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def recall(place: Path) -> Digest | None:
    """Where the last process was, if it said so."""
    with contextlib.suppress(OSError, UnicodeDecodeError, InvalidDigest):
        return Digest.parse(place.read_text("ascii"))
    return None
