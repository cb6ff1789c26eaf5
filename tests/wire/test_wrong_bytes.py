"""Whatever a store sends, an origin takes no other bytes than the digest's for a blob."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from octopull.backends import deadlines, object_stores
from octopull.backends.layouts import blob_key, metainfo_key
from octopull.backends.object_stores import ObjectStore
from octopull.blob.hashing import LeafHasher
from octopull.blob.layout import Layout, piece_length_for
from octopull.blob.metainfo import Metainfo
from octopull.config.backends import BlobLayout
from octopull.config.services import Listen, OriginConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.services.origin import refresh
from octopull.services.origin.app import run as run_origin
from support import toxic
from support.cluster import content
from support.contents import Bytes
from support.servers.moto import moto
from support.services import started
from support.toxic import Toxic, Toxin

BLOB = content(10_000_000, 51)
DIGEST = Digest.of(BLOB)
KEY = blob_key(BlobLayout.SHARDED_DOCKER_BLOB, DIGEST)
BESIDE = metainfo_key(BlobLayout.SHARDED_DOCKER_BLOB, DIGEST)
IN_TIME_S = 60.0
WRONG: dict[str, Toxin] = {
    "another bit in each range": toxic.flips(0),
    "another bit in the first range": toxic.flips(5_000_000),
    "ends too early": toxic.shortens(1),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PAUSE_S", 0.01)
    monkeypatch.setattr(refresh, "FAILED_S", 0.1)


@dataclass(frozen=True)
class Origin:
    """An origin, the front before its bucket, and the bucket."""

    http: Http
    url: str
    data: Path
    front: Toxic
    store: ObjectStore

    async def fetched(self) -> bytes:
        """The blob, from its bucket if need be."""
        blob = f"{self.url}/namespace/team/app/blobs/{DIGEST}"
        await self.http.call("POST", f"{blob}/fetch?whole=1&wait_s=10")
        return await self.http.bytes("GET", blob, bytes_max=len(BLOB))

    async def healed(self) -> bytes:
        """The blob, once what failed before may be tried again."""
        async with asyncio.timeout(IN_TIME_S):
            while True:
                try:
                    return await self.fetched()
                except Fault:
                    await asyncio.sleep(0.1)

    def holds(self) -> list[Path]:
        """Files of the blob."""
        return list(self.data.rglob(f"blobs/*/*/{DIGEST.hex}*"))


@pytest.fixture
async def origin(http: Http, tmp_path: Path) -> AsyncIterator[Origin]:
    async with moto() as bucket, toxic.toxic(bucket.options["endpoint"]) as front:
        store = object_stores.open(bucket.settings())
        settings = replace(bucket.settings(endpoint=front.url), timeout_s=5.0)
        config = OriginConfig(
            data=str(tmp_path / "origin"), listen=Listen(port=0), replicas=1, backends=[settings]
        )
        async with started(run_origin, config) as one:
            yield Origin(http, f"http://{one.address}", tmp_path / "origin", front, store)


@pytest.mark.parametrize("what", WRONG)
async def test_bytes_spoiled_on_the_way_become_no_blob(origin: Origin, what: str) -> None:
    await origin.store.put(KEY, Bytes(BLOB))
    origin.front.always = WRONG[what]
    with pytest.raises(Fault):
        await origin.fetched()
    assert origin.front.spoiled
    assert not origin.holds()
    origin.front.always = None
    assert await origin.healed() == BLOB
    assert origin.holds()


@pytest.mark.parametrize("wrong", [BLOB[:-1] + b"x", BLOB[:-1], BLOB + b"x", b""])
async def test_other_bytes_in_the_store_become_no_blob(origin: Origin, wrong: bytes) -> None:
    assert wrong != BLOB
    await origin.store.put(KEY, Bytes(wrong))
    with pytest.raises(Fault):
        await origin.fetched()
    assert not origin.holds()
    await origin.store.put(KEY, Bytes(BLOB))
    assert await origin.healed() == BLOB


OTHER = content(len(BLOB), 52)


async def test_metainfo_that_agrees_with_other_bytes_makes_them_no_blob(origin: Origin) -> None:
    leaves = LeafHasher()
    leaves.update(OTHER)
    length = piece_length_for(len(OTHER))
    lie = Metainfo(DIGEST, Layout(len(OTHER), length), leaves.piece_hashes(length))
    await origin.store.put(BESIDE, Bytes(lie.encode()))
    await origin.store.put(KEY, Bytes(OTHER))
    with pytest.raises(Fault):
        await origin.fetched()
    assert not origin.holds()
    await origin.store.delete(BESIDE)
    await origin.store.put(KEY, Bytes(BLOB))
    assert await origin.healed() == BLOB
