"""Two clusters that replicate to each other, over links that are cut and healed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from octopull.http.client import Http
from support.cluster import content
from support.images import Image, image, pull, push
from support.registry import digest_of, manifest
from support.replicating import replicated
from support.two_clusters import Site, agreed, two_clusters
from support.waiting import until

Pair = tuple[Site, Site]
AGREE_S = 60.0
PUSHES = 12
SECONDS = 2.0


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[Pair]:
    async with two_clusters(tmp_path, timeout_s=1.0) as pair:
        yield pair


async def agree(http: Http, sites: Pair) -> None:
    async def done() -> bool:
        return await agreed(http, *sites)

    await until(done, AGREE_S)


async def test_a_change_is_not_sent_back_and_forth(http: Http, sites: Pair) -> None:
    a, b = sites
    pushed = image(1, 200_000)
    await push(a.proxy, "team/app", "v1", pushed)
    await agree(http, sites)
    await pull(b.proxy, "team/app", "v1", pushed)
    assert b.link.sent_bytes > 200_000
    # Back came the question what the tag stands for.
    assert a.link.sent_bytes < 2000


async def test_only_the_bytes_that_are_lacking_cross_the_link(http: Http, sites: Pair) -> None:
    a, b = sites
    first = image(1, 500_000)
    await push(a.proxy, "team/app", "v1", first)
    await agree(http, sites)
    before = b.link.sent_bytes
    more = content(20_000, 9)
    second = Image(manifest(*first.blobs, more), [*first.blobs, more])
    for repository in ("team/app", "team/other"):
        await push(a.proxy, repository, "v2", second)
    await agree(http, sites)
    await pull(b.proxy, "team/other", "v2", second)
    assert len(more) < b.link.sent_bytes - before < len(more) + 20_000


async def test_what_both_moved_while_the_link_was_cut_ends_as_the_later_move(
    http: Http, sites: Pair
) -> None:
    a, b = sites
    for site in sites:
        site.link.cut(resets=True)
    first, second, third = (image(seed, 1000) for seed in (1, 2, 3))
    await push(a.proxy, "team/app", "v1", first)
    await push(b.proxy, "team/app", "v1", second)
    await push(b.proxy, "team/app", "v2", third)
    await push(a.proxy, "team/app", "v2", first)
    assert (await a.proxy("DELETE", "/v2/team/app/manifests/v2")).status == 202
    for site in sites:
        site.link.heal()
    await agree(http, sites)
    tags = await a.tags()
    assert tags == {"team/app:v1": digest_of(second.manifest)}
    await pull(a.proxy, "team/app", "v1", second)


async def test_a_deleted_tag_goes_on_both_sides_and_can_come_back(http: Http, sites: Pair) -> None:
    a, b = sites
    pushed = image(1, 1000)
    await push(a.proxy, "team/app", "v1", pushed)
    await agree(http, sites)
    assert (await b.proxy("DELETE", "/v2/team/app/manifests/v1")).status == 202
    await agree(http, sites)
    assert await a.tags() == {}
    await push(a.proxy, "team/app", "v1", pushed)
    await agree(http, sites)
    await pull(b.proxy, "team/app", "v1", pushed)


async def test_a_move_is_later_than_what_the_other_had_though_that_was_the_same(
    http: Http, sites: Pair
) -> None:
    a, b = sites
    first, second = image(1, 1000), image(2, 1000)
    await push(b.proxy, "team/app", "v1", first)
    await agree(http, sites)
    # Somebody whose clock is ahead told of the same.
    ahead = repr(time.time() + 60)
    answer = await a.proxy.push_manifest("team/app", "v1", first.manifest, Octopull_Moved_At=ahead)
    assert answer.status == 201
    await agree(http, sites)
    await push(b.proxy, "team/app", "v1", second)
    await agree(http, sites)
    assert await a.tags() == {"team/app:v1": digest_of(second.manifest)}


async def push_on(
    site: Site, seed: int, sides: str, last: dict[str, Image], turn: asyncio.Lock
) -> None:
    """Push image after image: some to tags of this side, some to one that both move by turns."""
    for number in range(PUSHES):
        one = image(seed * 1000 + number, 150_000, 10_000)
        shared = number % 3 == 0
        tag = "both" if shared else f"{sides}{number % 5}"
        async with turn if shared else nullcontext():
            await push(site.proxy, "team/app", tag, one)
            last[f"team/app:{tag}"] = one
        await asyncio.sleep(SECONDS / PUSHES)


@pytest.mark.parametrize("resets", [False, True])
async def test_a_link_cut_under_load_and_healed_leaves_both_sides_the_same(
    http: Http, sites: Pair, resets: bool
) -> None:
    last: dict[str, Image] = {}
    turn = asyncio.Lock()
    async with asyncio.TaskGroup() as group:
        for site, name, seed in zip(sites, "ab", (1, 2), strict=True):
            group.create_task(push_on(site, seed, name, last, turn))
        await asyncio.sleep(SECONDS / 4)
        for site in sites:
            site.link.cut(resets=resets)
        await asyncio.sleep(SECONDS)
        for site in sites:
            site.link.heal()
    await agree(http, sites)
    expected = {name: digest_of(one.manifest) for name, one in last.items()}
    assert await sites[0].tags() == expected
    for site in sites:
        for name, one in last.items():
            repository, _, tag = name.partition(":")
            await pull(site.proxy, repository, tag, one)


async def test_what_was_broken_off_by_a_cut_goes_on_behind_what_came(
    http: Http, tmp_path: Path
) -> None:
    size, rate = 24_000_000, 16_000_000
    pushed = image(1, size)
    async with two_clusters(tmp_path, bytes_per_s=rate) as (a, b):

        async def half_came() -> bool:
            return b.link.sent_bytes > size // 2

        await push(a.proxy, "team/app", "v1", pushed)
        await until(half_came, AGREE_S)
        b.link.cut(resets=True)
        assert b.link.sent_bytes < size
        b.link.heal()
        await replicated(http, a.cluster.tag_index.address)
        await pull(b.proxy, "team/app", "v1", pushed)
        # No more than what the other side had not written yet came twice.
        assert b.link.sent_bytes < 1.4 * size


async def test_blobs_keep_to_the_limit_of_their_remote(http: Http, tmp_path: Path) -> None:
    size, rate = 2_000_000, 4_000_000
    pushed = [image(seed, size, size) for seed in (1, 2)]
    async with two_clusters(tmp_path, bytes_per_s=rate) as (a, b):
        a_index = a.cluster.tag_index.address
        started = asyncio.get_running_loop().time()
        for number, one in enumerate(pushed):
            await push(a.proxy, "team/app", f"v{number}", one)
        await replicated(http, a_index)
        took_s = asyncio.get_running_loop().time() - started
        assert b.link.sent_bytes > 4 * size
    assert took_s > 0.8 * 4 * size / rate
