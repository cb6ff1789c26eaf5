"""An open blob of a store."""

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from octopull.kernel.digest import Digest
from octopull.storage.durable import disk_faults
from octopull.storage.proofs import Proof


class BlobFile:
    """An open blob; until it is closed the store neither evicts nor deletes it.

    ``prove`` proves the piece at an offset, and raises Corrupt if it can't be.
    """

    def __init__(
        self, digest: Digest, fd: int, closed: Callable[[Digest], None], proof: Proof,
        prove: Callable[["BlobFile", int], None],
    ) -> None:  # fmt: skip
        self.digest = digest
        self.proof = proof
        self._prove = prove
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self._closed = closed
        self._open = True

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes at ``offset``; fewer at the end."""
        with disk_faults("reading a blob"):
            return os.pread(self.fd, count, offset)

    async def proven(self, offset: int) -> int:
        """The end of the proven bytes around ``offset``, which are read again if need be.

        Raises:
            Corrupt: the disk has damaged them; the blob is none any more. Unavailable: it fails.

        """
        end = self.proof.end(offset)
        if end is None:
            # A file number of its own: we may be closed meanwhile.
            await asyncio.to_thread(self._prove, self, offset)
            end = self.proof.end(offset)
        return offset if end is None else end

    def close(self) -> None:
        """Unpin; may be called twice."""
        if self._open:
            self._open = False
            os.close(self.fd)
            self._closed(self.digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()


async def begun(blob: BlobFile) -> None:
    """Prove the first bytes, before anything is said of them; if they can't be, it is closed.

    Raises:
        as ``BlobFile.proven``.

    """
    try:
        await blob.proven(0)
    except BaseException:
        blob.close()
        raise
