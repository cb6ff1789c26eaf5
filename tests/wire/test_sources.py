"""What a tracker keeps of the origins' word: as long as it is true, and while they are silent."""

from pathlib import Path

import pytest

from octopull.blob.start import decode
from octopull.clients.origin import OriginCluster
from octopull.config.services import OriginConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.services.origin.app import run as run_origin
from octopull.services.tracker.sources import MetainfoCache
from octopull.storage.disk import DiskStore
from support.cluster import content
from support.services import started

LARGE, SMALL = content(600_000, 1), b"small"
BYTES_MAX = 1 << 20


@pytest.mark.parametrize("gone", [True, False])
async def test_old_answers_are_checked_and_hold_while_origins_are_silent(
    http: Http, tmp_path: Path, *, gone: bool
) -> None:
    async with started(run_origin, OriginConfig(data=str(tmp_path), replicas=1)) as origin:
        origins = OriginCluster(http, [origin.address], 1)
        cache = MetainfoCache(origins, BYTES_MAX, fresh_s=0)
        digests = [Digest.of(LARGE), Digest.of(SMALL)]
        for digest, blob in zip(digests, (LARGE, SMALL), strict=True):
            await origins.uploads.push("a", digest, blob)
        told = await cache.get("a", digests[0])
        assert {
            one.digest for part in await cache.starts("a", digests) for one in decode(part)
        } == {*digests}
        if gone:
            store = DiskStore(tmp_path)
            for digest in digests:
                store.delete(digest)
            with pytest.raises(NotFound):
                await cache.get("a", digests[0])
            assert await cache.starts("a", digests) == []
    if not gone:
        assert await cache.get("a", digests[0]) == told
        assert len(await cache.starts("a", digests)) == 2


async def test_a_fresh_answer_asks_nobody(http: Http, tmp_path: Path) -> None:
    async with started(run_origin, OriginConfig(data=str(tmp_path), replicas=1)) as origin:
        origins = OriginCluster(http, [origin.address], 1)
        cache = MetainfoCache(origins, BYTES_MAX)
        digest = Digest.of(LARGE)
        await origins.uploads.push("a", digest, LARGE)
        told = await cache.get("a", digest)
        DiskStore(tmp_path).delete(digest)
        assert await cache.get("a", digest) == told
