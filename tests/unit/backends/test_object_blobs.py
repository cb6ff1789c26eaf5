"""Blobs in a store of objects: where they are, what is refused, and whose fault it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from octopull.backends.contract import BlobName, Stat
from octopull.backends.files import Files
from octopull.backends.layouts import blob_key, metainfo_key
from octopull.backends.object_blobs import ObjectBlobs
from octopull.blob.metainfo import METAINFO_BYTES_MAX
from octopull.config.backends import BackendSettings, BlobLayout
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    Fault,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
    UpstreamFailed,
)  # fmt: skip
from support.contents import Bytes, joined
from support.failing import Failing

CONTENT = bytes(range(256)) * 80_000
BLOB = BlobName("team/app", Digest.of(CONTENT))
KEY = blob_key(BlobLayout.SHARDED_DOCKER_BLOB, BLOB.digest)
SETTINGS = BackendSettings(url="file:///folder", name="the store")


def blobs(root: Path, **changes: object) -> ObjectBlobs:
    return ObjectBlobs(Files(root), replace(SETTINGS, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", BlobLayout)
async def test_a_blob_and_its_metainfo_are_under_the_keys_of_the_layout(
    tmp_path: Path, layout: BlobLayout
) -> None:
    backend = blobs(tmp_path, layout=layout)
    await backend.put_metainfo(BLOB, b"metainfo")
    await backend.put(BLOB, Bytes(CONTENT))
    assert (tmp_path / blob_key(layout, BLOB.digest)).read_bytes() == CONTENT
    assert (tmp_path / metainfo_key(layout, BLOB.digest)).read_bytes() == b"metainfo"


@pytest.mark.parametrize("start", [0, 1, 8 << 20, len(CONTENT) - 1, len(CONTENT)])
@pytest.mark.parametrize("streams", [1, 3])
async def test_a_blob_is_given_from_anywhere_on(tmp_path: Path, start: int, streams: int) -> None:
    backend = blobs(tmp_path, read_streams=streams)
    await backend.put(BLOB, Bytes(CONTENT))
    assert await joined(backend.get(BLOB, start)) == CONTENT[start:]


async def test_what_is_too_large_goes_neither_way(tmp_path: Path) -> None:
    await blobs(tmp_path).put(BLOB, Bytes(CONTENT))
    fits, small = (blobs(tmp_path, blob_bytes_max=one) for one in (len(CONTENT), len(CONTENT) - 1))
    assert await fits.stat(BLOB) == len(CONTENT)
    await fits.put(BLOB, Bytes(CONTENT))
    with pytest.raises(TooLarge):
        await small.stat(BLOB)
    with pytest.raises(TooLarge):
        await joined(small.get(BLOB))
    with pytest.raises(TooLarge):
        await small.put(BLOB, Bytes(CONTENT))


async def test_what_is_only_read_is_not_changed(tmp_path: Path) -> None:
    await blobs(tmp_path).put(BLOB, Bytes(CONTENT))
    backend = blobs(tmp_path, read_only=True)
    assert not backend.writable
    for call in (
        backend.put(BLOB, Bytes(b"other")), backend.put_metainfo(BLOB, b"m"), backend.delete(BLOB)
    ):  # fmt: skip
        with pytest.raises(Unsupported):
            await call
    assert await joined(backend.get(BLOB)) == CONTENT


async def test_metainfo_of_impossible_length_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / metainfo_key(BlobLayout.SHARDED_DOCKER_BLOB, BLOB.digest)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(METAINFO_BYTES_MAX)
    assert len(await blobs(tmp_path).metainfo(BLOB)) == METAINFO_BYTES_MAX
    with path.open("wb") as file:
        file.truncate(METAINFO_BYTES_MAX + 1)
    with pytest.raises(Corrupt):
        await blobs(tmp_path).metainfo(BLOB)


async def test_a_blob_goes_before_its_metainfo(tmp_path: Path) -> None:
    failing = Failing(Files(tmp_path))
    backend = ObjectBlobs(failing, SETTINGS)
    await backend.put_metainfo(BLOB, b"metainfo")
    await backend.put(BLOB, Bytes(CONTENT))
    failing.after = 1
    with pytest.raises(UpstreamFailed):
        await backend.delete(BLOB)
    assert await backend.metainfo(BLOB) == b"metainfo"
    with pytest.raises(NotFound):
        await backend.stat(BLOB)
    await backend.delete(BLOB)
    with pytest.raises(NotFound):
        await backend.metainfo(BLOB)


async def test_what_fails_is_the_store_by_its_name(tmp_path: Path) -> None:
    def slow_down() -> Fault:
        return Unavailable("slow down", rests_s=60.0)

    failing = Failing(Files(tmp_path), before=100, fault=slow_down)
    backend = ObjectBlobs(failing, SETTINGS)
    for call in (
        backend.stat(BLOB), joined(backend.get(BLOB)), backend.put(BLOB, Bytes(CONTENT)),
        backend.delete(BLOB), backend.metainfo(BLOB), backend.put_metainfo(BLOB, b"m"),
    ):  # fmt: skip
        with pytest.raises(UpstreamFailed, match="the store: slow down") as failed:
            await call
        assert failed.value.details["rests_s"] == 60.0


class Shrinking(Files):
    """A folder whose objects become shorter once somebody has looked at them."""

    async def stat(self, key: str) -> Stat:
        found = await super().stat(key)
        await self.put(key, Bytes(CONTENT[:1_000_000]))
        return found


@pytest.mark.parametrize("streams", [1, 3])
async def test_a_blob_that_becomes_shorter_while_it_is_read_is_corrupt(
    tmp_path: Path, streams: int
) -> None:
    await blobs(tmp_path).put(BLOB, Bytes(CONTENT))
    backend = ObjectBlobs(Shrinking(tmp_path), replace(SETTINGS, read_streams=streams))
    with pytest.raises(Corrupt):
        await joined(backend.get(BLOB))
