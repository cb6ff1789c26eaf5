"""Tags that a store beyond has, too: who counts when, and what is to be told."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from octopull.backends import registry
from octopull.backends.contract import TagEntry
from octopull.backends.tag_opening import OpenedTags, TagBackends
from octopull.clients.origin import OriginCluster
from octopull.config.backends import TagBackendSettings
from octopull.config.upstreams import UpstreamSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, NotFound, Unsupported, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.oci.manifests import Descriptor, Manifest, MediaType
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.followed_tags import FollowedTags
from octopull.services.tag_index.listings import Listings
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.services.tag_index.tag_sources import TagSources
from octopull.storage.task_table import Task

URL, LANE = "sqlite:///elsewhere", "elsewhere"
NAME = TagName("a/b", "v1")
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def image(name: str, *below: Pushed | str) -> Pushed:
    references = tuple(
        Descriptor(LAYER, digest(one), 1, required=True) if isinstance(one, str)
        else Descriptor(MediaType.OCI_MANIFEST, one.digest, 1, required=True)
        for one in below
    )  # fmt: skip
    return Pushed(digest(name), 1, Manifest(MediaType.OCI_MANIFEST, references, None, None, {}))


def lane_of(repository: str) -> str:
    return LANE if repository.startswith("a/") else ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TagStore]:
    opened = TagStore(tmp_path / "repositories.sqlite", lane_of)
    yield opened
    opened.close()


async def take(store: TagStore, count: int = 100) -> list[Task]:
    tasks = await store.tasks.take(LANE, count)
    for task in tasks:
        store.tasks.release(task)
    return tasks


def always() -> bool:
    return True


async def keys(store: TagStore) -> list[str]:
    return [task.key for task in await take(store)]


async def test_each_change_is_to_be_told_and_nothing_else(store: TagStore) -> None:
    store.record("a/b", image("one"), [], ["v1", "v2"])
    assert await keys(store) == ["a/b v1", "a/b v2"]
    store.record("a/b", image("two"), [])
    assert await keys(store) == ["a/b v1", "a/b v2", f"a/b {digest('two')}"]
    store.record("other", image("one"), [], ["v1"])
    store.delete_tag(TagName("other", "v1"))
    for task in await take(store):
        assert store.told(task, URL)
    assert await keys(store) == []
    store.delete_manifest("a/b", digest("one"))
    assert sorted(await keys(store)) == [f"a/b {digest('one')}", "a/b v1", "a/b v2"]
    # What is about to be forgotten is looked at again if it is pushed under a tag.
    before = {task.key: task.seq for task in await take(store)}
    store.record("a/b", image("one"), [], ["v1"])
    after = {task.key: task.seq for task in await take(store)}
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {f"a/b {digest('one')}", "a/b v1"}


async def test_what_changed_while_it_was_told_is_told_again(store: TagStore) -> None:
    store.put(NAME, image("one"), [])
    (task,) = await take(store)
    store.put(NAME, image("two"), [])
    assert not store.told(task, URL)
    assert store.standing(NAME).pending
    assert store.standing(NAME).store == ""
    (task,) = await take(store)
    assert store.told(task, URL)
    standing = store.standing(NAME)
    assert (standing.digest, standing.store, standing.pending) == (digest("two"), URL, False)


async def test_a_taken_task_is_not_taken_again_until_it_is_released(store: TagStore) -> None:
    for tag in ("v1", "v2"):
        store.put(TagName("a/b", tag), image("one"), [])
    (first,) = await store.tasks.take(LANE, 1)
    (second,) = await store.tasks.take(LANE, 5)
    assert {first.key, second.key} == {"a/b v1", "a/b v2"}
    assert await store.tasks.pause_s(LANE) is None
    await store.tasks.failed(first, "because", 3600.0)
    store.tasks.release(first)
    assert await store.tasks.take(LANE, 5) == []
    assert 3500 < (await store.tasks.pause_s(LANE) or 0) <= 3600


async def test_a_task_of_another_store_moves_or_ends(store: TagStore) -> None:
    store.put(NAME, image("one"), [])
    (task,) = await store.tasks.take(LANE, 1)
    await store.tasks.move(task, "renamed")
    assert [count.lane for count in await store.tasks.counts()] == ["renamed"]
    assert store.standing(NAME).pending
    (task,) = await store.tasks.take("renamed", 1)
    await store.tasks.move(task, "")
    assert await store.tasks.counts() == []


def test_a_tag_that_is_only_asked_for_again_has_not_moved(tmp_path: Path) -> None:
    now = [1000.0]
    opened = TagStore(tmp_path / "repositories.sqlite", clock=lambda: now[0])
    for now[0], name, moved_at in ((1000.0, "one", 1000.0), (1010.0, "one", 1000.0),
                                   (900.0, "two", 1000.000001)):  # fmt: skip
        assert opened.follow(NAME, image(name), [], URL, always)
        assert opened.moves.of(NAME).at == moved_at
    opened.close()


def test_a_deleted_tag_that_a_store_has_again_is_not_known_as_deleted(store: TagStore) -> None:
    name = TagName("other", "v1")
    store.put(name, image("ours"), [])
    store.delete_tag(name)
    assert store.follow(name, image("theirs"), [], URL, always)
    assert store.moves.deleted_in("other") == []
    assert store.moves.of(name).digest == digest("theirs")


def test_an_older_answer_does_not_undo_a_delete(store: TagStore) -> None:
    store.follow(NAME, image("theirs"), [], URL, always)
    store.delete_tag(NAME)
    assert not store.follow(NAME, image("theirs"), [], URL, always)
    assert store.standing(NAME).digest is None


@pytest.mark.parametrize("case", ["pending", "pushed here", "told meanwhile"])
def test_an_older_answer_of_the_store_changes_nothing(store: TagStore, case: str) -> None:
    name = NAME if case == "pending" else TagName("other", "v1")
    told = case == "told meanwhile"
    if told:
        assert store.follow(name, image("ours"), [], URL, always)
    else:
        store.put(name, image("ours"), [])
    assert not store.follow(name, image("theirs"), [], URL, lambda: not told)
    assert not store.lose(name, URL, lambda: not told)
    assert store.standing(name).digest == digest("ours")
    assert not store.recorded(name.repository, digest("theirs"))


async def test_what_the_store_says_is_followed_and_not_told_back(store: TagStore) -> None:
    for version in ("one", "two"):
        assert store.follow(NAME, image(version, "layer"), [], URL, always)
        assert store.standing(NAME).digest == digest(version)
    assert store.unreferenced([digest("layer"), digest("one")]) == []
    assert store.lose(NAME, URL, always)
    assert store.standing(NAME).digest is None
    assert not store.lose(NAME, URL, always)
    assert await keys(store) == []


def test_a_reach_tells_manifests_from_blobs(store: TagStore) -> None:
    child = image("child", "layer", "config")
    store.record("a/b", image("empty"), [])
    top = image("top", child, image("empty"))
    store.put(NAME, top, [child])
    reach = store.reach(digest("top"))
    assert set(reach.manifests) == {digest("top"), digest("child"), digest("empty")}
    assert set(reach.blobs) == {digest("layer"), digest("config")}
    assert len(reach.manifests) + len(reach.blobs) == 5


def test_a_file_that_knew_no_stores_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as old, old:
        old.executescript(
            "CREATE TABLE tags (repository TEXT NOT NULL, folded TEXT NOT NULL, "
            "tag TEXT NOT NULL, digest TEXT NOT NULL, moved_at REAL NOT NULL, "
            "PRIMARY KEY (repository, folded, tag)) STRICT, WITHOUT ROWID"
        )
        row = ("a/b", "v1", "v1", str(digest("old")), 0.0)
        old.execute("INSERT INTO tags VALUES (?, ?, ?, ?, ?)", row)
    for _ in range(2):
        store = TagStore(path, lane_of)
        standing = store.standing(NAME)
        assert (standing.digest, standing.store, standing.pending) == (digest("old"), "", False)
        store.close()


async def test_what_is_an_upstreams_is_written_nowhere() -> None:
    hub = UpstreamSettings(name="docker.io", url="http://127.0.0.1:1")
    async with registry.connected([hub]) as upstreams:
        sources = TagSources(upstreams, TagBackends([opened(Held())]))
        assert sources.lane_of("docker.io/library/app") == ""
        assert sources.backend("docker.io/library/app") is None
        assert sources.lane_of("library/app") == LANE
        source = sources.of("docker.io/library/app")
        assert source is not None
        assert source.store == ""


class Held:
    """A store of tags, in memory, that answers once it is let, or with ``fault``."""

    name, writable = LANE, True

    def __init__(self, **tags: Digest) -> None:
        self.tags = {TagName("a/b", tag): digest for tag, digest in tags.items()}
        self.let = asyncio.Event()
        self.came = asyncio.Event()
        self.fault: Fault | None = None

    async def _held(self) -> None:
        self.came.set()
        await self.let.wait()
        if self.fault is not None:
            raise self.fault

    async def get(self, name: TagName) -> TagEntry:
        found = self.tags.get(name)
        await self._held()
        if found is None:
            raise NotFound("no such tag")
        return TagEntry(found, "")

    async def list(self, repository: str, after: str, count: int) -> list[str]:
        tags = (name.tag for name in self.tags if name.repository == repository)
        found = sorted(tag for tag in tags if tag > after)[:count]
        await self._held()
        return found

    async def put(self, name: TagName, digest: Digest) -> None:
        self.tags[name] = digest

    async def put_if(self, name: TagName, digest: Digest, expected: str | None) -> str:
        raise Unsupported("can't compare", name=name, digest=digest, expected=expected)

    async def delete(self, name: TagName) -> None:
        self.tags.pop(name, None)


def opened(held: Held, tag_ttl_s: float = 3600.0) -> OpenedTags:
    settings = TagBackendSettings(url=URL, name=LANE, tag_ttl_s=tag_ttl_s)
    return OpenedTags(settings, held, None)


async def test_an_answer_from_before_a_push_does_not_undo_it(store: TagStore) -> None:
    held = Held()
    assert store.follow(NAME, image("old"), [], URL, always)
    async with Http() as http, Tasks() as tasks:
        nobody = OriginCluster(http, ["127.0.0.1:1"], 1)
        sources = TagSources({}, TagBackends([opened(held)]))
        followed = FollowedTags(store, nobody, nobody, sources, tasks)
        reading = asyncio.create_task(followed.resolve(NAME))
        await held.came.wait()
        store.put(NAME, image("new"), [])
        assert (await followed.resolve(NAME)).digest == digest("new")
        followed.changed(NAME)
        (task,) = await take(store)
        assert store.told(task, URL)
        held.let.set()
        await asyncio.wait([reading])
        assert store.standing(NAME).digest == digest("new")


async def test_a_listing_from_before_a_change_knows_of_it() -> None:
    held = Held(gone=digest("1"), left=digest("2"))
    async with Tasks() as tasks:
        listings = Listings(tasks)
        asking = asyncio.create_task(listings.of("a/b", opened(held)))
        await held.came.wait()
        listings.told(TagName("a/b", "gone"))
        held.let.set()
        listing, stale = await asking
        assert listing is not None
        assert (listing.tags, listing.told, stale) == (frozenset({"gone", "left"}), {"gone"}, "")
        await held.put(NAME, digest("3"))
        again, _ = await listings.of("a/b", opened(held))
        assert again is listing


async def test_while_a_listing_fails_the_last_one_counts() -> None:
    held = Held(v1=digest("1"))
    held.let.set()
    async with Tasks() as tasks:
        listings = Listings(tasks)
        for fault, repository, tags in (
            (None, "a/b", {"v1"}),
            (UpstreamFailed("broken"), "a/b", {"v1"}),
            (UpstreamFailed("broken"), "a/c", None),
            (None, "a/c", set[str]()),
        ):
            held.fault = fault
            listing, stale = await listings.of(repository, opened(held, 0.0))
            assert listing is not None
            assert (listing.tags, stale) == (tags, str(fault or ""))
