"""What every store of blobs does: one suite for ``BlobBackend``, run on each line of ``STORES``."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from contracts.blob_stores import NO_METAINFO, STORES
from octopull.backends.contract import CHUNK_BYTES_MAX, BlobBackend, BlobName
from octopull.backends.reading import RANGE_BYTES
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound
from support.cluster import content
from support.contents import Bytes, joined

BLOB = content(2 * RANGE_BYTES + 12_345, 41)
NAME = BlobName("team/app", Digest.of(BLOB))
FEW = content(1000, 42)
FEW_NAME = BlobName("team/app", Digest.of(FEW))
NONE = BlobName("team/app", Digest.of(b"nowhere"))
SHA512 = BlobName("team/app", Digest.parse(f"sha512:{hashlib.sha512(FEW).hexdigest()}"))


@pytest.fixture(params=STORES)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobBackend]:
    async with STORES[request.param](tmp_path) as one:
        assert one.writable
        yield one


@pytest.mark.parametrize("start", [0, 1, RANGE_BYTES - 1, RANGE_BYTES, len(BLOB) - 1, len(BLOB)])
async def test_a_blob_is_read_from_any_byte_on(backend: BlobBackend, start: int) -> None:
    await backend.put(NAME, Bytes(BLOB))
    got = bytearray()
    async with aclosing(backend.get(NAME, start)) as chunks:
        async for chunk in chunks:
            assert 0 < len(chunk) <= CHUNK_BYTES_MAX
            got += chunk
    assert got == BLOB[start:]
    assert await backend.stat(NAME) in {len(BLOB), None}


async def test_the_empty_blob_is_a_blob(backend: BlobBackend) -> None:
    empty = BlobName("team/app", Digest.of(b""))
    await backend.put(empty, Bytes(b""))
    assert await joined(backend.get(empty)) == b""
    assert await backend.stat(empty) in {0, None}


async def test_what_is_not_there_is_not_found(backend: BlobBackend) -> None:
    await backend.put(FEW_NAME, Bytes(FEW))
    with pytest.raises(NotFound):
        await backend.stat(NONE)
    for start in (0, 5):
        with pytest.raises(NotFound):
            await joined(backend.get(NONE, start))
    with pytest.raises(NotFound):
        await backend.metainfo(NONE)


async def test_algorithms_are_kept_apart(backend: BlobBackend) -> None:
    await backend.put(SHA512, Bytes(FEW))
    with pytest.raises(NotFound):
        await backend.stat(FEW_NAME)
    assert await joined(backend.get(SHA512)) == FEW


async def test_a_blob_may_be_put_again_also_by_many_at_once(backend: BlobBackend) -> None:
    await asyncio.gather(*(backend.put(NAME, Bytes(BLOB)) for _ in range(4)))
    assert await joined(backend.get(NAME)) == BLOB


async def test_a_put_whose_content_fails_stores_nothing_and_says_why(backend: BlobBackend) -> None:
    damaged = Corrupt("the disk has damaged a blob")
    for name, blob in ((NAME, BLOB), (FEW_NAME, FEW)):
        with pytest.raises(Corrupt, match="the disk has damaged"):
            await backend.put(name, Bytes(blob, failure=damaged))
        with pytest.raises(NotFound):
            await backend.stat(name)


@pytest.mark.parametrize("backend", sorted(STORES.keys() - NO_METAINFO), indirect=True)
async def test_metainfo_is_beside_its_blob_and_goes_with_it(backend: BlobBackend) -> None:
    await backend.put_metainfo(FEW_NAME, b"metainfo")
    with pytest.raises(NotFound):
        await backend.stat(FEW_NAME)
    await backend.put(FEW_NAME, Bytes(FEW))
    assert await backend.metainfo(FEW_NAME) == b"metainfo"
    assert await joined(backend.get(FEW_NAME)) == FEW
    for _ in range(2):
        await backend.delete(FEW_NAME)
        with pytest.raises(NotFound):
            await backend.stat(FEW_NAME)
        with pytest.raises(NotFound):
            await backend.metainfo(FEW_NAME)


@pytest.mark.parametrize("backend", sorted(NO_METAINFO), indirect=True)
async def test_where_metainfo_has_no_place_it_is_ignored(backend: BlobBackend) -> None:
    await backend.put_metainfo(FEW_NAME, b"metainfo")
    with pytest.raises(NotFound):
        await backend.metainfo(FEW_NAME)


async def test_a_reader_may_stop_half_way(backend: BlobBackend) -> None:
    await backend.put(NAME, Bytes(BLOB))
    for _ in range(40):  # More than may be asked at once.
        async with aclosing(backend.get(NAME)) as chunks:
            assert await anext(chunks)
    assert await joined(backend.get(NAME)) == BLOB
