"""A GiB into a bucket and out of it: as origins do it, against obstore called directly."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from harness import stores
from harness.content import MIB, write_blob
from harness.pairs import GIB, Line, Sample, Sides
from harness.stores import BUCKET, KEY, SECRET, Bucket
from octopull.backends.contract import BlobBackend, BlobName
from octopull.backends.opening import opened
from octopull.kernel.digest import Digest
from support.memory import folder_in_memory

DIRECT = f"{stores.ROOT}/direct"


@dataclass(frozen=True)
class FileContent:
    """A file as a backend's ``Content``."""

    path: Path
    size: int

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """A MiB at a time, by threads, as an origin reads its blobs."""
        with self.path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, MIB):
                yield chunk


Work = Callable[[BlobBackend], Coroutine[Any, Any, None]]


def _timed(bucket: Bucket, work: Work) -> Sample:
    """MiB/s of ``work`` on a GiB; opening the backend does not count."""

    async def run() -> float:
        async with opened([bucket.settings]) as backends:
            backend = backends.of("bench")
            assert backend is not None
            started = time.monotonic()
            await work(backend)
            return time.monotonic() - started

    return Sample(GIB / MIB / asyncio.run(run()))


def _direct(bucket: Bucket) -> S3Store:
    return S3Store(
        BUCKET, endpoint=bucket.endpoint, region="us-east-1", access_key_id=KEY,
        secret_access_key=SECRET, client_options={"allow_http": True, "timeout": "600s"},
    )  # fmt: skip


async def _direct_put(store: S3Store, source: Path) -> None:
    await obstore.put_async(store, DIRECT, source)


async def _direct_get(store: S3Store) -> None:
    found = await obstore.get_async(store, DIRECT)
    assert sum([len(chunk) async for chunk in found.stream(min_chunk_size=MIB)]) == GIB


@contextmanager
def _sides(folder: Path, way: str) -> Iterator[Sides]:
    """Server and source in memory; our side with all decorators that an origin has."""
    with ExitStack() as stack:
        files = Path(stack.enter_context(folder_in_memory()))
        bucket = stack.enter_context(stores.bucket(folder / "s3", files / "s3" / BUCKET))
        source = files / "source"
        name = BlobName("bench", Digest.parse(write_blob(source, GIB, 20)))
        store = _direct(bucket)

        async def put(backend: BlobBackend) -> None:
            await backend.put(name, FileContent(source, GIB))

        async def get(backend: BlobBackend) -> None:
            async with aclosing(backend.get(name)) as chunks:
                assert sum([len(chunk) async for chunk in chunks]) == GIB

        def direct(work: Coroutine[Any, Any, None]) -> Sample:
            started = time.monotonic()
            asyncio.run(work)
            return Sample(GIB / MIB / (time.monotonic() - started))

        if way == "get":
            _timed(bucket, put)
            direct(_direct_put(store, source))
            yield Sides(
                lambda: _timed(bucket, get), lambda: direct(_direct_get(store)), lambda: 0.0
            )
        else:
            yield Sides(
                lambda: _timed(bucket, put), lambda: direct(_direct_put(store, source)), lambda: 0.0
            )


LINES = [
    Line("backend-put", "MiB/s", "obstore", lambda folder: _sides(folder, "put"), ">= 0.9"),
    Line("backend-get", "MiB/s", "obstore", lambda folder: _sides(folder, "get"), ">= 0.9"),
]
