"""One blob to one backend: looked for first, so that nothing is written twice; metainfo first."""

import asyncio
from collections.abc import AsyncGenerator

from octopull.backends.contract import CHUNK_BYTES_MAX, BlobBackend, BlobName
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Fault, NotFound
from octopull.observability import logs, metrics
from octopull.storage.blob_file import BlobFile
from octopull.storage.disk import DiskStore
from octopull.storage.task_table import Task

log = logs.get("origin")


def prefix(digest: Digest) -> str:
    """What the keys of the tasks for ``digest`` begin with; the namespace follows."""
    return f"{digest} "


def digest_of(task: Task) -> Digest:
    """The blob that ``task`` is for."""
    return Digest.parse(task.key.partition(" ")[0])


class StoredContent:
    """A pinned blob of the store as a backend's ``Content``; proven anew whenever it is read.

    ``fault`` is why reading it failed last, which is no failure of the backend.
    """

    def __init__(self, blob: BlobFile) -> None:
        self._blob = blob
        self.fault: Fault | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._blob.size

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """All of them; the last comes only if the disk has not damaged any.

        Raises:
            Corrupt: it has. Unavailable: the disk fails.

        """
        self.fault = None
        hasher = self._blob.digest.algorithm.hasher()
        offset = 0

        def read() -> bytes:
            chunk = self._blob.read(offset, CHUNK_BYTES_MAX)
            hasher.update(chunk)
            last = not chunk or offset + len(chunk) == self.size
            if last and hasher.hexdigest() != self._blob.digest.hex:
                raise Corrupt("the disk has damaged a blob", digest=str(self._blob.digest))
            return chunk

        while offset < self.size:
            try:
                chunk = await asyncio.to_thread(read)
            except Fault as fault:
                self.fault = fault
                raise
            yield chunk
            offset += len(chunk)


async def is_there(backend: BlobBackend, blob: BlobName, size: int) -> bool:
    """Whether the backend has the blob, by its name and size in bytes.

    Raises:
        UpstreamFailed: it can't tell.

    """
    try:
        found = await backend.stat(blob)
    except NotFound:
        return False
    if found is None or found == size:
        return True
    log.warning("backend.other_size", backend=backend.name, digest=blob.digest.short, size=found)
    return False


async def carry(store: DiskStore, file: BlobFile, backend: BlobBackend, blob: BlobName) -> None:
    """Let the backend have a blob of ``store``, of which ``file`` is open.

    Raises:
        UpstreamFailed: the backend fails. Corrupt: the disk has damaged the blob.
        Unavailable: the disk fails. Misuse: the backend won't have this blob.

    """
    if not await is_there(backend, blob, file.size):
        metainfo = await asyncio.to_thread(store.metainfo, blob.digest)
        await backend.put_metainfo(blob, metainfo.encode())
        content = StoredContent(file)
        try:
            await backend.put(blob, content)
        except Fault:
            if content.fault is not None:
                raise content.fault from None
            raise
        metrics.BACKEND_BLOBS_WRITTEN.labels(backend.name).inc()
        metrics.BACKEND_BYTES_WRITTEN.labels(backend.name).inc(file.size)
        log.info("blob.written_back", backend=backend.name, digest=blob.digest.short,
                 size=file.size)  # fmt: skip
    await asyncio.to_thread(store.mark_backed, blob.digest, blob.namespace)
