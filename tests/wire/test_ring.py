"""Several origins: copies before the acknowledgement, and what happens when one is away."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from octopull.clients.origin import OriginCluster
from octopull.config.services import ProxyConfig, RepairSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidDigest, NotFound, Unavailable
from octopull.services.proxy.app import run as run_proxy
from octopull.storage.disk import DiskStore
from support.cluster import content
from support.origins import holders, origin
from support.ports import free_ports
from support.services import started

REPLICAS = 2


@pytest.fixture
def ring() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


async def test_a_push_is_on_all_owners_before_it_is_acknowledged(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        for name in ring:
            await stack.enter_async_context(origin(tmp_path, name, ring, REPLICAS))
        cluster = OriginCluster(http, ring, REPLICAS)
        for number in range(8):
            blob = content(300_000, number)
            digest = Digest.of(blob)
            await cluster.uploads.push("ns", digest, blob)
            assert set(cluster.owners(digest)) <= await holders(http, ring, digest)
            metainfos = [await OriginCluster(http, [host], 1).metainfo("ns", digest)
                         for host in cluster.owners(digest)]  # fmt: skip
            assert len({one.outline.info_hash for one in metainfos}) == 1
            reply = await http.call("GET", f"http://{ring[0]}/blobs/{digest}/locations")
            assert reply.headers["Origin-Locations"].split(",") == cluster.owners(digest)


async def test_with_one_origin_away_pushes_and_reads_go_on(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    cluster = OriginCluster(http, ring, REPLICAS)
    blobs = [content(100_000, number) for number in range(6)]
    async with AsyncExitStack() as stack:
        for name in ring[:2]:
            await stack.enter_async_context(origin(tmp_path, name, ring, REPLICAS))
        async with origin(tmp_path, ring[2], ring, REPLICAS):
            for blob in blobs[:3]:
                await cluster.uploads.push("ns", Digest.of(blob), blob)
        for blob in blobs[3:]:
            await cluster.uploads.push("ns", Digest.of(blob), blob)
            assert await holders(http, ring[:2], Digest.of(blob)) == set(ring[:2])
        for blob in blobs:
            assert await cluster.read("ns", Digest.of(blob), len(blob)) == blob
        with pytest.raises(Unavailable):
            await cluster.stat("ns", Digest.of(b"nobody knows, since one origin is away"))


async def test_a_client_that_looks_before_it_pushes_is_told_as_long_as_a_quorum_would_show(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    config = ProxyConfig(origins=ring, tag_indexes=["127.0.0.1:1"], replicas=REPLICAS)
    blob = content(1000, 1)
    there, missing = Digest.of(blob), Digest.of(b"pushed by nobody")
    async with started(run_proxy, config) as proxy, AsyncExitStack() as stack:

        async def look(digest: Digest) -> None:
            url = f"http://{proxy.address}/v2/a/b/blobs/{digest}"
            await http.call("HEAD", url, timeout_s=30)

        await stack.enter_async_context(origin(tmp_path, ring[0], ring, REPLICAS))
        async with origin(tmp_path, ring[1], ring, REPLICAS):
            # Of each push at least one copy would be at those two.
            await OriginCluster(http, ring[:2], REPLICAS).uploads.push("a/b", there, blob)
            await look(there)
            with pytest.raises(NotFound):
                await look(missing)
            url = f"http://{proxy.address}/v2/a/b/blobs/uploads/?mount={missing}"
            assert (await http.call("POST", url, timeout_s=30)).status == 202
        await look(there)
        with pytest.raises(Unavailable):
            await look(missing)


async def test_without_a_quorum_a_push_is_not_acknowledged_and_may_be_repeated(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blob = content(100_000, 9)
    digest = Digest.of(blob)
    cluster = OriginCluster(http, ring, 3)
    async with origin(tmp_path, ring[0], ring, 3):
        token = await cluster.uploads.start("ns")

        async def body() -> AsyncIterator[bytes]:
            yield blob

        await cluster.uploads.append("ns", token, 0, body(), len(blob))
        with pytest.raises(Unavailable):
            await cluster.uploads.commit("ns", token, digest)
        async with origin(tmp_path, ring[1], ring, 3):
            await cluster.uploads.commit("ns", token, digest)
            assert await holders(http, ring[:2], digest) == set(ring[:2])


async def test_a_commit_whose_answer_was_lost_is_repeated_after_a_restart_by_its_session_alone(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blob, other = content(100_000, 9), content(1000, 10)
    cluster = OriginCluster(http, ring[:1], 1)

    async def body() -> AsyncIterator[bytes]:
        yield blob

    async with origin(tmp_path, ring[0], ring[:1], 1):
        await cluster.uploads.push("ns", Digest.of(other), other)
        token = await cluster.uploads.start("ns")
        await cluster.uploads.append("ns", token, 0, body(), len(blob))
        await cluster.uploads.commit("ns", token, Digest.of(blob))
        unused = await cluster.uploads.start("ns")
        await cluster.uploads.abort("ns", unused)
    async with origin(tmp_path, ring[0], ring[:1], 1):
        await cluster.uploads.commit("ns", token, Digest.of(blob))
        # To know the digest of a blob that is there gives nothing.
        for session, digest in ((token, Digest.of(other)), (unused, Digest.of(blob))):
            with pytest.raises(NotFound):
                await cluster.uploads.commit("ns", session, digest)
        DiskStore(tmp_path / ring[0]).delete(Digest.of(blob))
        with pytest.raises(NotFound):
            await cluster.uploads.commit("ns", token, Digest.of(blob))


async def test_a_copy_with_other_bytes_is_refused(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    async with origin(tmp_path, ring[0], ring[:1], 1):
        digest = Digest.of(b"right")
        url = f"http://{ring[0]}/internal/namespace/ns/blobs/{digest}"
        with pytest.raises(InvalidDigest):
            await http.call("PUT", url, data=b"wrong")
        assert not list((tmp_path / ring[0] / "uploads").iterdir())
        with pytest.raises(NotFound):
            await OriginCluster(http, ring[:1], 1).stat("ns", digest)


async def test_a_push_that_lacked_a_quorum_is_spread_before_a_manifest_may_refer_to_it(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    blob = content(100_000, 10)
    digest = Digest.of(blob)
    cluster = OriginCluster(http, ring, 3)
    referring = OriginCluster(http, ring, 3, book=lambda: "5" * 16)
    async with origin(tmp_path, ring[0], ring, 3):
        with pytest.raises(Unavailable):
            await cluster.uploads.push("ns", digest, blob)
    async with origin(tmp_path, ring[0], ring, 3):
        # A client that asks may still take it for pushed ...
        assert await cluster.keep("ns", [digest]) == {digest: len(blob)}
        # ... but not refer to it, until it is where a push puts it.
        with pytest.raises(Unavailable):
            await referring.keep("ns", [digest])
        async with origin(tmp_path, ring[1], ring, 3):
            assert await referring.keep("ns", [digest]) == {digest: len(blob)}
            assert await holders(http, ring[:2], digest) == set(ring[:2])
        # It had its quorum once: who is away now has it still.
        assert await referring.keep("ns", [digest]) == {digest: len(blob)}


@pytest.mark.parametrize("size", [3_000, 600_000], ids=["small", "of several pieces"])
async def test_what_the_first_owners_disk_has_damaged_comes_from_the_next(
    http: Http, ring: list[str], tmp_path: Path, size: int
) -> None:
    blob = content(size, 11)
    digest = Digest.of(blob)
    cluster = OriginCluster(http, ring, REPLICAS)
    async with AsyncExitStack() as stack:
        for name in ring:
            await stack.enter_async_context(
                origin(tmp_path, name, ring, REPLICAS, repair=RepairSettings(every_s=0))
            )
        await cluster.uploads.push("ns", digest, blob)
        first = DiskStore(tmp_path / cluster.owners(digest)[0]).path(digest)
        first.write_bytes(bytes(size))
        for span in (None, (10, 100)):
            async with cluster.holders.stream("ns", digest, span) as response:
                start, length = span or (0, size)
                assert await response.read() == blob[start : start + length]
        assert not first.exists()
