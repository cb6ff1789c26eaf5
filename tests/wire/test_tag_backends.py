"""Tags in a store of others: told of each push, followed when others move them, done without."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from octopull.backends import tag_keys
from octopull.backends.contract import TagBackend
from octopull.backends.tag_opening import opened_tags
from octopull.config.backends import BackendSettings, TagBackendSettings, WriteBackSettings
from octopull.config.services import OriginConfig, ProxyConfig, TagIndexConfig
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.services.origin.app import run as run_origin
from octopull.services.proxy.app import run as run_proxy
from octopull.services.tag_index.app import run as run_tag_index
from support.registry import Answer, Registry, digest_of, index, manifest
from support.services import started
from support.waiting import until

WARNING = '299 - "Response is Stale"'
REPOSITORY = "team/app"
LAYER = b"a layer"
QUICK = WriteBackSettings(retry_s=0.05, retry_s_max=0.2)
WITHIN_S = 20.0


@dataclass
class Door:
    """A cluster whose tags are in a store, too, and that store as others see it."""

    proxy: Registry
    tag_index: Registry
    tags: TagBackend

    async def tag(self, tag: str, repository: str = REPOSITORY) -> Answer:
        return await self.proxy("GET", f"/v2/{repository}/manifests/{tag}")

    async def push(self, tag: str, repository: str = REPOSITORY, **more: Any) -> bytes:
        return await self.proxy.push_image(repository, tag, **more)

    async def delete(self, reference: str) -> Answer:
        return await self.proxy("DELETE", f"/v2/{REPOSITORY}/manifests/{reference}")

    async def listed(self, query: str = "", repository: str = REPOSITORY) -> Any:
        answer = await self.proxy("GET", f"/v2/{repository}/tags/list{query}")
        return answer.json.get("tags", answer.status)

    async def progress(self) -> Any:
        return (await self.tag_index("GET", "/write-back")).json

    async def written(self) -> None:
        async def nothing_left() -> bool:
            return not (await self.progress())["pending"]

        await until(nothing_left, WITHIN_S)

    async def theirs(self, tag: str, repository: str = REPOSITORY) -> str:
        try:
            return str((await self.tags.get(TagName(repository, tag))).digest)
        except NotFound:
            return ""

    async def move(self, tag: str, content: bytes) -> None:
        await self.tags.put(TagName(REPOSITORY, tag), Digest.of(content))


@asynccontextmanager
async def cluster(
    folder: Path, url: str, *, blobs: Path | None = None, **settings: Any
) -> AsyncIterator[Door]:
    """Origin, tag index and proxy, with tags at ``url`` and blobs in the folder ``blobs``."""
    store = TagBackendSettings(url=url, **{"write_back": QUICK, "tag_ttl_s": 0.0, **settings})
    backends = [BackendSettings(url=f"file://{blobs}")] if blobs is not None else []
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(
            started(run_origin, OriginConfig(data=str(folder / "origin"), replicas=1,
                                             backends=backends))
        )  # fmt: skip
        tag_index = await stack.enter_async_context(
            started(
                run_tag_index,
                TagIndexConfig(data=str(folder / "tag-index"), origins=[origin.address],
                               replicas=1, tag_backends=[store]),
            )
        )  # fmt: skip
        proxy = await stack.enter_async_context(
            started(
                run_proxy,
                ProxyConfig(origins=[origin.address], tag_indexes=[tag_index.address], replicas=1),
            )
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        others = TagBackendSettings(url=url)
        seen = await stack.enter_async_context(opened_tags([others]))
        yield Door(
            Registry(session, proxy.address), Registry(session, tag_index.address),
            seen.all[0].tags,
        )  # fmt: skip


@dataclass
class Place:
    """The file of an SQLite store."""

    path: Path

    @property
    def url(self) -> str:
        return f"sqlite://{self.path}"

    def leave(self) -> None:
        """Take the store down."""
        self.path.rename(self.path.with_name("away"))

    def come_back(self) -> None:
        self.path.with_name("away").rename(self.path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "shared").mkdir()
    return Place(tmp_path / "shared" / "tags.sqlite")


@pytest.fixture
async def door(tmp_path: Path, place: Place) -> AsyncIterator[Door]:
    async with cluster(tmp_path, place.url) as one:
        yield one


async def test_the_store_knows_a_tag_when_its_push_is_answered(door: Door) -> None:
    for version in ("1", "2"):
        pushed = await door.push("v1", annotations={"version": version})
        assert await door.theirs("v1") == digest_of(pushed)
        assert (await door.tag("v1")).body == pushed
    assert await door.progress() == {
        "pending": 0,
        "oldest_s": 0.0,
        "backends": [{"name": door.tags.name, "pending": 0, "failing": ""}],
    }


async def test_while_the_store_is_away_pushes_and_pulls_go_on_and_it_is_told_later(
    door: Door, place: Place
) -> None:
    await door.push("v1")
    place.leave()
    moved = await door.push("v1", annotations={"version": "2"})
    new = await door.push("v2", annotations={"version": "3"})
    assert (await door.delete("v1")).status == 202
    moved = await door.push("v1", annotations={"version": "4"})
    for tag, content in (("v1", moved), ("v2", new)):
        told = await door.tag(tag)
        assert (told.status, told.body, told.headers.get("Warning")) == (200, content, None)

    async def failing() -> bool:
        progress = await door.progress()
        assert progress["pending"] == 2
        assert progress["oldest_s"] > 0
        return "failed" in progress["backends"][0]["failing"]

    await until(failing, WITHIN_S)
    place.come_back()
    await door.written()
    assert await door.theirs("v1") == digest_of(moved)
    assert await door.theirs("v2") == digest_of(new)
    assert (await door.progress())["backends"][0]["failing"] == ""


async def test_a_store_that_hangs_holds_up_no_push(door: Door, place: Place) -> None:
    await door.push("v1")
    with closing(sqlite3.connect(place.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with asyncio.timeout(WITHIN_S):
            pushed = await door.push("v1", annotations={"version": "2"})
        assert (await door.tag("v1")).body == pushed
        assert (await door.progress())["pending"] == 1
    await door.written()
    assert await door.theirs("v1") == digest_of(pushed)


async def test_a_store_by_another_name_is_told_what_is_left_and_one_that_is_gone_is_not(
    tmp_path: Path, place: Place
) -> None:
    async with cluster(tmp_path, place.url, name="first") as door:
        await door.push("v0")
        place.leave()
        pushed = await door.push("v1")
        old = await door.push("v1", "old")
    place.come_back()
    async with cluster(tmp_path, place.url, name="second", match=REPOSITORY) as door:
        await door.written()
        assert await door.theirs("v1") == digest_of(pushed)
        assert await door.theirs("v1", "old") == ""
        assert (await door.tag("v1", "old")).body == old
        assert [one["name"] for one in (await door.progress())["backends"]] == ["second"]


async def test_a_tag_that_others_move_or_delete_is_followed(door: Door) -> None:
    old = await door.push("v1")
    new = await door.push("v2", annotations={"version": "2"})
    await door.move("v1", new)
    assert (await door.tag("v1")).body == new
    await door.tags.delete(TagName(REPOSITORY, "v2"))
    assert (await door.tag("v2")).status == 404
    await door.move("v3", old)
    assert (await door.tag("v3")).body == old
    await door.move("v3", new)
    assert (await door.tag("v3")).body == new
    # What nothing stands for any more is still in the repository.
    assert (await door.tag_index("POST", "/gc?grace_s=0")).status == 200
    assert (await door.tag(digest_of(old))).body == old


async def test_within_its_time_a_tag_is_not_looked_up_again(tmp_path: Path, place: Place) -> None:
    async with cluster(tmp_path, place.url, tag_ttl_s=3600) as door:
        old = await door.push("v1")
        new = await door.push("v2", annotations={"version": "2"})
        assert (await door.tag("v1")).body == old
        await door.move("v1", new)
        assert (await door.tag("v1")).body == old
        # A push from here counts at once.
        newest = await door.push("v1", annotations={"version": "3"})
        assert (await door.tag("v1")).body == newest


async def test_while_the_store_is_away_what_is_known_is_served_with_a_warning(
    door: Door, place: Place
) -> None:
    pushed = await door.push("v1")
    assert (await door.tag("v1")).headers.get("Warning") is None
    place.leave()
    told = await door.tag("v1")
    assert (told.body, told.headers.get("Warning")) == (pushed, WARNING)
    assert (await door.tag("v2")).status == 503
    told = await door.proxy("GET", f"/v2/{REPOSITORY}/tags/list")
    assert (told.json["tags"], told.headers.get("Warning")) == (["v1"], WARNING)
    assert (await door.proxy("GET", "/v2/other/tags/list")).status == 503


async def test_tags_here_and_there_are_listed_together(door: Door, place: Place) -> None:
    pushed = await door.push("B")
    await door.push("gone")
    for tag in ("a", "A", "a-1", "c"):
        await door.move(tag, pushed)
    await door.tags.delete(TagName(REPOSITORY, "gone"))
    assert await door.listed() == ["A", "a", "a-1", "B", "c"]
    assert await door.listed("?n=2&last=a") == ["a-1", "B"]
    place.leave()
    await door.push("new")
    assert (await door.delete("B")).status == 202
    place.come_back()
    # Whether or not the store was told by now.
    for _ in range(2):
        assert await door.listed() == ["A", "a", "a-1", "c", "new"]
        await door.written()
    assert (await door.proxy("GET", "/v2/other/tags/list")).status == 404


async def test_a_listing_that_still_counts_knows_what_was_pushed_and_deleted_here(
    tmp_path: Path, place: Place
) -> None:
    async with cluster(tmp_path, place.url, tag_ttl_s=3600) as door:
        pushed = await door.push("v1")
        await door.move("theirs", pushed)
        assert await door.listed() == ["theirs", "v1"]
        await door.push("v2")
        assert (await door.delete("v1")).status == 202
        assert (await door.delete("theirs")).status == 202
        assert await door.listed() == ["v2"]
        await door.move("unseen", pushed)
        assert await door.listed() == ["v2"]


async def test_what_is_deleted_here_is_deleted_there(door: Door, place: Place) -> None:
    pushed = await door.push("v1")
    other = await door.push("v2", annotations={"version": "2"})
    await door.push("v3", annotations={"version": "2"})
    await door.move("theirs", pushed)
    for tag in ("v1", "theirs"):
        assert (await door.delete(tag)).status == 202
        assert await door.theirs(tag) == ""
        assert (await door.tag(tag)).status == 404
        assert (await door.delete(tag)).status == 404
    assert (await door.delete(digest_of(other))).status == 202
    assert [await door.theirs("v2"), await door.theirs("v3")] == ["", ""]
    assert await door.listed() == []
    # As long as the store has not heard of it, too.
    await door.push("v1")
    place.leave()
    assert (await door.delete("v1")).status == 202
    assert (await door.tag("v1")).status == 404
    assert (await door.delete("v1")).status == 404
    assert (await door.delete("v9")).status == 503


async def test_tags_of_a_store_that_is_only_read_are_shadowed_by_pushes(
    tmp_path: Path, place: Place
) -> None:
    async with cluster(tmp_path / "writer", place.url) as writer:
        await writer.push("v1")
        await writer.push("v2")
        async with cluster(tmp_path, place.url, read_only=True) as door:
            for _ in range(2):
                pushed = await door.push("v1", annotations={"version": "2"})
                assert (await door.tag("v1")).body == pushed
                assert await writer.theirs("v1") != digest_of(pushed)
                assert await door.listed() == ["v1", "v2"]
                own = await door.push("own")
                assert (await door.tag("own")).body == own
                assert await door.listed() == ["own", "v1", "v2"]
                refused = await door.delete("v2")
                assert (refused.status, refused.code) == (405, "UNSUPPORTED")
                for tag in ("v1", "own"):
                    assert (await door.delete(tag)).status == 202


async def test_repositories_that_no_store_matches_are_left_alone(
    tmp_path: Path, place: Place
) -> None:
    async with cluster(tmp_path, place.url, match="team/.*") as door:
        pushed = await door.push("v1", "private")
        assert await door.theirs("v1", "private") == ""
        await door.tags.put(TagName("private", "v2"), Digest.of(pushed))
        assert (await door.tag("v2", "private")).status == 404
        assert await door.listed("", "private") == ["v1"]


# The layout of docker-registry, and what its folder alone has.


async def push_index(door: Door) -> tuple[bytes, bytes]:
    for blob in (b"{}", LAYER):
        await door.proxy.push_blob(blob, REPOSITORY)
    image = manifest(b"{}", LAYER)
    pushed = await door.proxy.push_manifest(REPOSITORY, digest_of(image), image)
    assert pushed.status == 201
    both = index(image)
    assert (await door.proxy.push_manifest(REPOSITORY, "both", both)).status == 201
    return image, both


async def test_links_tell_docker_registry_what_a_repository_holds(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    async with cluster(tmp_path, f"file://{shared}") as door:
        image, both = await push_index(door)
        await door.written()
        links = {
            tag_keys.tag_link(TagName(REPOSITORY, "both")): both,
            tag_keys.tag_index_link(TagName(REPOSITORY, "both"), Digest.of(both)): both,
            tag_keys.revision_link(REPOSITORY, Digest.of(both)): both,
            tag_keys.revision_link(REPOSITORY, Digest.of(image)): image,
            tag_keys.layer_link(REPOSITORY, Digest.of(b"{}")): b"{}",
            tag_keys.layer_link(REPOSITORY, Digest.of(LAYER)): LAYER,
        }
        found = {str(one.relative_to(shared)) for one in shared.rglob("link")}
        assert found == set(links)
        for key, content in links.items():
            assert (shared / key).read_text() == digest_of(content)
        link = shared / tag_keys.revision_link(REPOSITORY, Digest.of(image))
        await door.move("theirs", image)
        assert (await door.delete(digest_of(image))).status == 202
        await door.written()
        assert not link.exists()
        assert (await door.tag("theirs")).status == 404
        # Somebody pushes it again, there or here.
        link.parent.mkdir(parents=True)
        link.write_text(digest_of(image))
        assert (await door.tag("theirs")).body == image
        assert (await door.delete(digest_of(image))).status == 202
        assert not link.exists()
        await push_index(door)
        await door.written()
        assert link.exists()


def written(shared: Path) -> set[str]:
    """The blobs in docker-registry's layout under ``shared``."""
    return {path.parent.name for path in shared.rglob("data")}


async def test_a_manifest_that_was_deleted_stays_so_while_the_store_is_away(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    async with cluster(tmp_path, f"file://{shared}") as door:
        pushed = await door.push("v1")
        shared.rename(tmp_path / "away")
        assert (await door.delete(digest_of(pushed))).status == 202
        assert (await door.tag(digest_of(pushed))).status == 404
        assert (await door.tag("v1")).status == 404


async def blobs_written(shared: Path, *blobs: bytes) -> None:
    async def all_there() -> bool:
        return {Digest.of(blob).hex for blob in blobs} <= written(shared)

    await until(all_there, WITHIN_S)


async def test_when_all_disks_are_lost_the_store_has_everything(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    url = f"file://{shared}"
    async with cluster(tmp_path / "first", url, blobs=shared) as door:
        image, both = await push_index(door)
        lone = await door.push("v1", annotations={"version": "2"})
        await door.written()
        await blobs_written(shared, image, both, lone, b"{}", LAYER)
    async with cluster(tmp_path / "second", url, blobs=shared) as door:
        assert (await door.tag(digest_of(lone))).body == lone
        assert (await door.tag(digest_of(b"absent"))).status == 404
        assert await door.listed() == ["both", "v1"]
        assert (await door.tag("both")).body == both
        assert (await door.tag("v1")).body == lone
        assert (await door.tag(digest_of(image))).body == image
        # The next look at the tag records the image that was fetched meanwhile.
        assert (await door.tag("both")).body == both
        for blob in (b"{}", LAYER):
            told = await door.proxy("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(blob)}")
            assert told.body == blob
        collected = await door.tag_index("POST", "/gc?grace_s=0")
        assert b'"collected":0' in collected.body
        assert (await door.delete("v1")).status == 202
        assert (await door.delete(digest_of(lone))).status == 202
        assert (await door.tag(digest_of(lone))).status == 404
        await door.written()
    async with cluster(tmp_path / "third", url, blobs=shared) as door:
        assert await door.listed() == ["both"]
        assert (await door.tag("v1")).status == 404
        assert (await door.tag(digest_of(lone))).status == 404


async def test_a_tag_whose_manifest_has_not_arrived_stands_for_the_last_one(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    async with cluster(tmp_path, f"file://{shared}", blobs=shared) as door:
        pushed = await door.push("v1")
        late = manifest(b"{}", annotations={"late": "yes"})
        for tag in ("v1", "v2"):
            await door.move(tag, late)
        told = await door.tag("v1")
        assert (told.body, told.headers.get("Warning")) == (pushed, WARNING)
        assert (await door.tag("v2")).status == 404
        data = shared / f"docker/registry/v2/blobs/sha256/{Digest.of(late).hex[:2]}"
        (data / Digest.of(late).hex).mkdir(parents=True)
        (data / Digest.of(late).hex / "data").write_bytes(late)

        async def there() -> bool:
            answers = await asyncio.gather(door.tag("v1"), door.tag("v2"))
            return [one.body for one in answers] == [late, late]

        await until(there, WITHIN_S)
