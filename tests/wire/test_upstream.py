"""The client of upstream registries against a real registry behind a front that misbehaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from octopull.backends.registry import Upstream, connected
from octopull.cli.cluster import Ports, running
from octopull.config.upstreams import UpstreamSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, NotFound, UpstreamFailed
from support.cluster import content
from support.registry import Registry, manifest
from support.upstream import PASSWORD, SIGNATURE, USER, Front, front

NAME = "up.example"
LAYER = content(1_500_000, 7)
IMAGE = manifest(b"{}", LAYER)
WANTED = Digest.of(LAYER)


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Front]:
    async with (
        running(tmp_path / "upstream", 0, Ports(0, "127.0.0.1")) as cluster,
        aiohttp.ClientSession() as session,
        front(cluster.proxy.address) as one,
    ):
        registry = Registry(session, cluster.proxy.address)
        await registry.push_blob(b"{}", "a/b")
        await registry.push_blob(LAYER, "a/b")
        assert (await registry.push_manifest("a/b", "v1", IMAGE)).status == 201
        yield one


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.write_text(f"{USER}:{PASSWORD}\n")
    return path


@contextlib.asynccontextmanager
async def client(url: str, credentials: Path | None = None) -> AsyncIterator[Upstream]:
    settings = UpstreamSettings(
        name=NAME, url=url, credentials=str(credentials or ""), timeout_s=10
    )
    async with connected([settings]) as by_name:
        yield by_name[NAME]


async def blob(one: Upstream, digest: Digest = WANTED) -> bytes:
    found = bytearray()
    async with contextlib.aclosing(one.blob("a/b", digest)) as chunks:
        async for chunk in chunks:
            found += chunk
    return bytes(found)


async def test_tags_manifests_and_blobs_are_read(upstream: Front) -> None:
    async with client(upstream.url) as one:
        assert await one.tag("a/b", "v1") == Digest.of(IMAGE)
        assert upstream.count("GET", "/manifests/") == 0
        found = await one.manifest("a/b", "v1")
        assert (found.digest, found.content) == (Digest.of(IMAGE), IMAGE)
        assert (await one.manifest("a/b", found.digest)).content == IMAGE
        assert await blob(one) == LAYER
        assert one.received_bytes == len(LAYER)
        for missing in (one.tag("a/b", "v2"), one.manifest("a/none", "v1"),
                        blob(one, Digest.of(b"none"))):  # fmt: skip
            with pytest.raises(NotFound):
                await missing


async def test_one_token_serves_a_repository_until_it_is_refused(upstream: Front) -> None:
    upstream.tokens = True
    async with client(upstream.url) as one:
        assert await blob(one) == LAYER
        await one.tag("a/b", "v1")
        assert upstream.given == 1
        upstream.revoke()
        assert await one.tag("a/b", "v1") == Digest.of(IMAGE)
        assert upstream.given == 2


async def test_credentials_open_what_is_private_and_are_shown_to_the_realm_alone(
    upstream: Front, credentials: Path
) -> None:
    upstream.tokens = upstream.private = True
    async with client(upstream.url) as nobody:
        with pytest.raises(NotFound):
            await nobody.tag("a/b", "v1")
    async with client(upstream.url, credentials) as robot:
        assert await blob(robot) == LAYER
    shown = {
        one.path
        for one in upstream.asked
        if one.headers.get("Authorization", "").startswith("Basic")
    }
    assert shown == {"/token"}


async def test_basic_credentials_work_and_wrong_ones_are_told_without_their_words(
    upstream: Front, credentials: Path
) -> None:
    upstream.basic = True
    async with client(upstream.url, credentials) as robot:
        assert await robot.tag("a/b", "v1") == Digest.of(IMAGE)
    await asyncio.to_thread(credentials.write_text, "robot:wrong-and-secret")
    for upstream.basic, upstream.tokens in ((True, False), (False, True)):
        upstream.private = upstream.tokens
        async with client(upstream.url, credentials) as wrong:
            with pytest.raises(UpstreamFailed, match="refuses this cluster's credentials") as told:
                await wrong.tag("a/b", "v1")
        assert "secret" not in f"{told.value} {told.value.details}"


async def test_a_broken_body_goes_on_where_it_broke(upstream: Front) -> None:
    upstream.cut_bytes, upstream.cuts = 400_000, 3
    async with client(upstream.url) as one:
        assert await blob(one) == LAYER
    starts = [ask.headers.get("Range") for ask in upstream.asked if "/blobs/" in ask.path]
    assert starts == [None, "bytes=400000-", "bytes=800000-", "bytes=1200000-"]


async def test_a_broken_body_goes_on_even_without_ranges(upstream: Front) -> None:
    upstream.ranges, upstream.cut_bytes, upstream.cuts = False, 1_000_000, 1
    async with client(upstream.url) as one:
        assert await blob(one) == LAYER
        assert one.received_bytes == len(LAYER)


async def test_a_body_that_never_ends_well_is_given_up(upstream: Front) -> None:
    upstream.cut_bytes, upstream.cuts = 0, 1000
    async with client(upstream.url) as one:
        with pytest.raises(UpstreamFailed):
            await blob(one)
    assert upstream.count("GET", "/blobs/") == 4


async def test_a_busy_upstream_is_asked_again_and_one_that_wants_peace_is_left_alone(
    upstream: Front,
) -> None:
    upstream.busy = 3
    async with client(upstream.url) as one:
        assert await one.tag("a/b", "v1") == Digest.of(IMAGE)
        assert len(upstream.asked) == 4
        upstream.busy, upstream.retry_after = 1, "3600"
        for _ in range(3):
            with pytest.raises(UpstreamFailed):
                await one.tag("a/b", "v1")
        assert len(upstream.asked) == 5


async def test_redirected_blobs_come_from_elsewhere_without_our_proof(
    upstream: Front, credentials: Path, tmp_path: Path
) -> None:
    async with front(upstream.behind) as storage, client(upstream.url, credentials) as one:
        upstream.tokens = True
        upstream.redirect = f"{storage.url}{{path}}?x={SIGNATURE}"
        assert await blob(one) == LAYER
        assert [ask.headers.get("Authorization") for ask in storage.asked] == [None]
        storage.cut_bytes, storage.cuts = 100_000, 1
        assert await blob(one) == LAYER
        storage.down = True
        with pytest.raises(UpstreamFailed) as told:
            await blob(one)
        assert SIGNATURE not in str(told.value)


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest{path}", "http://[fe80::1]{path}", "http://0.0.0.0{path}",
     "http://user:pass@127.0.0.1{path}", "ftp://127.0.0.1{path}", "file:///etc/passwd",
     "http://100.100.100.200{path}", "{path}"],
)  # fmt: skip
async def test_an_upstream_may_not_send_us_just_anywhere(upstream: Front, target: str) -> None:
    upstream.redirect = target
    async with client(upstream.url) as one:
        with pytest.raises(UpstreamFailed, match="redirects"):
            await blob(one)
    # Round and round on itself: six requests an attempt; elsewhere: one an attempt.
    rounds = 6 if target == "{path}" else 1
    assert len(upstream.asked) == rounds * 4


async def test_wrong_bytes_are_no_manifest(upstream: Front) -> None:
    upstream.lies = True
    async with client(upstream.url) as one:
        for reference in ("v1", Digest.of(IMAGE)):
            with pytest.raises(Corrupt):
                await one.manifest("a/b", reference)


async def test_an_upstream_that_is_away_is_told_in_plain_words(upstream: Front) -> None:
    upstream.down = True
    async with client(upstream.url) as one:
        with pytest.raises(UpstreamFailed, match=r"^up\.example can't be reached$"):
            await one.tag("a/b", "v1")
