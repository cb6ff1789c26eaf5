"""What the tag index has its remotes told, and keeps of uploads to them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopull.kernel.digest import Digest
from octopull.kernel.names import TagName
from octopull.oci.manifests import Descriptor, Manifest, MediaType
from octopull.replication.remote import PAUSE_S_MAX
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.services.tag_index.tag_tasks import lane_of_remote

LAYER = "application/vnd.oci.image.layer.v1.tar"
LANES = [lane_of_remote(remote) for remote in ("eu", "us")]


def remotes_of(repository: str) -> list[str]:
    return ["eu", "us"] if repository.startswith("team/") else []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TagStore]:
    opened = TagStore(tmp_path / "book.sqlite", lambda _: "backend", remotes_of)
    yield opened
    opened.close()


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def pushed(name: str, subject: Digest | None = None) -> Pushed:
    layer = Descriptor(LAYER, digest("layer"), 1, required=True)
    return Pushed(digest(name), 9, Manifest(MediaType.OCI_MANIFEST, (layer,), subject, None, {}))


def told(store: TagStore) -> list[list[str]]:
    """The keys of the tasks of each remote."""
    return [[task.key for task in store.tasks.due(lane, 100)] for lane in LANES]


def test_each_remote_is_told_of_a_moved_tag_once(store: TagStore) -> None:
    for version in ("one", "two"):
        store.record("team/app", pushed(version), [], ["v1"])
    store.record("other/app", pushed("one"), [], ["v1"])
    assert told(store) == [["team/app v1"]] * 2


def test_of_untagged_manifests_those_about_others_are_told(store: TagStore) -> None:
    store.record("team/app", pushed("child"), [])
    assert told(store) == [[], []]
    store.record("team/app", pushed("signature", digest("child")), [])
    assert told(store) == [[f"team/app {digest('signature')}"]] * 2


def test_deletions_are_told_with_the_tags_that_go_along(store: TagStore) -> None:
    store.record("team/app", pushed("one"), [], ["v1", "v2"])
    for lane in LANES:
        for task in store.tasks.due(lane, 10):
            assert store.tasks.end(task)
    store.delete_manifest("team/app", digest("one"))
    expected = ["team/app v1", "team/app v2", f"team/app {digest('one')}"]
    assert [sorted(keys) for keys in told(store)] == [sorted(expected)] * 2
    assert store.moves.of(TagName("team/app", "v1")).digest is None
    assert store.moves.of(TagName("team/app", "v1")).at > 0
    standing = store.replicated.standing("team/app", digest("one"))
    assert (standing.recorded, standing.deleted_at is not None) == (False, True)


def test_what_remotes_are_to_be_told_is_not_pending_for_the_backend(store: TagStore) -> None:
    name = TagName("team/app", "v1")
    store.put(name, pushed("one"), [])
    assert store.standing(name).pending
    (task,) = store.tasks.due("backend", 10)
    assert store.told(task, "file:///x")
    assert not store.standing(name).pending
    assert store.tasks.of("team/app") == set()
    assert told(store) == [["team/app v1"]] * 2


async def test_counts_of_backends_and_remotes_are_apart(store: TagStore) -> None:
    store.record("team/app", pushed("one"), [], ["v1", "v2"])
    assert [count.lane for count in await store.tasks.counts()] == ["backend"]
    assert {name: count.pending for name, count in (await store.tasks.remote_counts()).items()} == {
        "eu": 2,
        "us": 2,
    }
    assert store.tasks.drop_remote("eu") == 2
    assert told(store) == [[], ["team/app v1", "team/app v2"]]


def test_a_manifest_that_a_tag_was_moved_to_later_is_not_deleted(store: TagStore) -> None:
    store.record("team/app", pushed("one"), [], ["v1"], 1000.0)
    assert store.delete_manifest("team/app", digest("one"), 900.0) == []
    assert store.recorded("team/app", digest("one"))
    assert store.delete_manifest("team/app", digest("one"), 1100.0) == ["v1", str(digest("one"))]
    assert not store.record("team/app", pushed("one"), [], ["v1"], 950.0)
    assert store.moves.of(TagName("team/app", "v1")).digest is None


def test_a_tag_may_have_moved_off_a_manifest_before_that_was_deleted(store: TagStore) -> None:
    store.record("team/app", pushed("one"), [], ["v1"], 1000.0)
    store.delete_manifest("team/app", digest("one"), 1100.0)
    assert store.record("team/app", pushed("two"), [], ["v1"], 1050.0)
    assert store.moves.of(TagName("team/app", "v1")).digest == digest("two")


def test_a_deletion_that_is_told_on_is_no_later_than_where_it_was_made(store: TagStore) -> None:
    store.record("team/app", pushed("one"), [], ["v1"], 1000.0)
    store.delete_manifest("team/app", digest("one"), 1100.0)
    assert store.replicated.standing("team/app", digest("one")).deleted_at == 1100.0


def test_a_deletion_is_later_than_the_moves_that_it_undoes(store: TagStore) -> None:
    ahead_s = time.time() + 3600
    store.record("team/app", pushed("one"), [], ["v1"], ahead_s)
    store.delete_manifest("team/app", digest("one"))
    deleted_at = store.replicated.standing("team/app", digest("one")).deleted_at
    assert deleted_at is not None
    assert deleted_at > ahead_s


def test_a_tag_that_moves_all_the_time_waits_no_longer_than_since_it_was_told(
    store: TagStore,
) -> None:
    store.record("team/app", pushed("one"), [], ["v1"])
    (taken,) = store.tasks.due(LANES[0], 1)
    store.record("team/app", pushed("two"), [], ["v1"])
    store.tasks.end_or_renew(taken, taken.created_s + 5)
    (task,) = store.tasks.due(LANES[0], 1)
    assert task.created_s == taken.created_s + 5
    store.tasks.end_or_renew(task, task.created_s)
    assert not store.tasks.due(LANES[0], 1)


async def test_whoever_takes_over_waits_no_longer_than_a_pause_lasts(store: TagStore) -> None:
    store.record("team/app", pushed("one"), [], ["v1"])
    for lane in (*LANES, "backend"):
        (task,) = store.tasks.due(lane, 10)
        await store.tasks.failed(task, "their clock was ahead", 86400.0)
    store.take_over()
    for lane in LANES:
        assert PAUSE_S_MAX - 60 < (await store.tasks.pause_s(lane) or 0) <= PAUSE_S_MAX
    assert (await store.tasks.pause_s("backend") or 0) > PAUSE_S_MAX


def test_a_blob_is_known_to_be_in_other_repositories(store: TagStore) -> None:
    for repository in ("team/app", "team/web", "other"):
        store.record(repository, pushed("one"), [])
    found = store.replicated.elsewhere("team/app", digest("layer"))
    assert sorted(found) == ["other", "team/web"]
    assert store.replicated.elsewhere("team/app", digest("nothing")) == []


def test_repositories_whose_tags_were_all_deleted_are_listed(store: TagStore) -> None:
    store.record("team/app", pushed("one"), [], ["v1"])
    store.delete_manifest("team/app", digest("one"))
    store.record("team/web", pushed("one"), [], ["v1"])
    assert store.replicated.repositories(10, "") == ["team/app", "team/web"]
    assert store.replicated.repositories(10, "team/app") == ["team/web"]
    listed = store.replicated.listed("team/app")
    assert (listed.tags, listed.deleted) == ({}, ["v1"])


async def test_a_left_upload_is_known_until_it_is_over(store: TagStore) -> None:
    about = "eu", "team/app", digest("layer")
    uploads = store.left_uploads
    assert await uploads.left(*about) == ""
    for session in ("https://eu/1", "https://eu/2"):
        await uploads.leave(*about, session)
        assert await uploads.left(*about) == session
    assert await uploads.left("us", "team/app", digest("layer")) == ""
    await uploads.forget(*about)
    assert await uploads.left(*about) == ""
