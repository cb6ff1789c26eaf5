"""A store in another's shadow: written, compared, and never anybody's trouble."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from octopull.backends.contract import BlobName
from octopull.backends.files import Files
from octopull.backends.layouts import blob_key
from octopull.backends.object_blobs import ObjectBlobs
from octopull.backends.shadow import PROVEN_BYTES_MAX, Shadow
from octopull.config.backends import BackendSettings, BlobLayout
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound
from octopull.runtime.tasks import Tasks
from support.contents import Bytes, joined
from support.failing import Failing
from support.waiting import until

BLOB = bytes(range(256)) * 100
LARGE = bytes(PROVEN_BYTES_MAX + 1)


def name_of(blob: bytes) -> BlobName:
    return BlobName("team/app", Digest.of(blob))


def counted(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(
        f"octopull_shadow_{name}_total", {"backend": "second", **labels}
    )
    return found or 0.0


@dataclass
class Pair:
    shadow: Shadow
    first: ObjectBlobs
    second: ObjectBlobs
    failing: Failing
    """What the second is kept in."""
    folder: Path

    def path(self, blob: bytes) -> Path:
        """Where the second keeps it."""
        return self.folder / blob_key(BlobLayout.SHARDED_DOCKER_BLOB, name_of(blob).digest)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    failing = Failing(Files(folders[1]))
    first = ObjectBlobs(Files(folders[0]), BackendSettings(url="s3://first", name="first"))
    second = ObjectBlobs(failing, BackendSettings(url="s3://second", name="second"))
    async with Tasks() as tasks:
        yield Pair(Shadow(first, second, tasks), first, second, failing, folders[1])


async def compared(pair: Pair, blob: bytes, outcome: str) -> None:
    """Read ``blob``, and see the comparison end as ``outcome``."""
    before = counted("compared", outcome=outcome)

    async def seen() -> bool:
        return counted("compared", outcome=outcome) > before

    assert await joined(pair.shadow.get(name_of(blob))) == blob
    await until(seen, 10)


async def test_what_is_put_and_deleted_is_in_both(pair: Pair) -> None:
    name = name_of(BLOB)
    await pair.shadow.put_metainfo(name, b"metainfo")
    await pair.shadow.put(name, Bytes(BLOB))
    for one in (pair.first, pair.second, pair.shadow):
        assert await joined(one.get(name)) == BLOB
        assert await one.metainfo(name) == b"metainfo"
    await pair.shadow.delete(name)
    for one in (pair.first, pair.second):
        with pytest.raises(NotFound):
            await one.stat(name)


async def test_the_shadows_failures_are_counted_and_nobodys(pair: Pair) -> None:
    name, before = name_of(BLOB), counted("failed")
    pair.failing.before = 1000
    await pair.shadow.put(name, Bytes(BLOB))
    assert counted("failed") == before + 1
    assert await joined(pair.shadow.get(name)) == BLOB
    await pair.shadow.delete(name)
    assert counted("failed") >= before + 2


async def test_the_firsts_failures_are_the_users_and_the_shadow_gets_nothing(pair: Pair) -> None:
    with pytest.raises(Corrupt):
        await pair.shadow.put(name_of(BLOB), Bytes(BLOB, failure=Corrupt("bad disk")))
    assert pair.failing.asked == []


async def test_reads_tell_same_from_missing_other_sizes_and_other_bytes(pair: Pair) -> None:
    for blob in (BLOB, LARGE):
        await pair.shadow.put(name_of(blob), Bytes(blob))
    await compared(pair, BLOB, "same")
    await compared(pair, LARGE, "same")
    pair.path(BLOB).write_bytes(BLOB[:-1] + b"x")
    await compared(pair, BLOB, "bytes")
    pair.path(BLOB).write_bytes(BLOB[:-1])
    await compared(pair, BLOB, "size")
    pair.path(LARGE).write_bytes(LARGE + b"x")
    await compared(pair, LARGE, "size")
    pair.path(BLOB).unlink()
    await compared(pair, BLOB, "missing")


async def test_a_comparison_that_hangs_delays_no_reader(pair: Pair) -> None:
    await pair.shadow.put(name_of(BLOB), Bytes(BLOB))
    pair.failing.hangs = True
    for _ in range(100):
        assert await joined(pair.shadow.get(name_of(BLOB))) == BLOB
    assert len(pair.failing.asked) < 100
