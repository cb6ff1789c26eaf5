"""The book of repositories: records, tags, what is reached, lists, and the feed of deletions."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.clients.tag_index import COLLECTED, DELETED, RESTORED
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.oci.manifests import Descriptor, Manifest, MediaType
from octopull.services.tag_index.book_questions import REFERRERS_BYTES_MAX
from octopull.services.tag_index.store import Pushed, TagStore

SBOM = "application/spdx+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TagStore]:
    opened = TagStore(tmp_path / "repositories.sqlite")
    yield opened
    opened.close()


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def image(
    name: str, *layers: str, subject: Digest | None = None, artifact_type: str | None = None
) -> Pushed:
    references = tuple(Descriptor(LAYER, digest(layer), 1, required=True) for layer in layers)
    manifest = Manifest(MediaType.OCI_MANIFEST, references, subject, artifact_type, {"name": name})
    return Pushed(digest(name), 100, manifest)


def index(name: str, *images: Pushed) -> Pushed:
    references = tuple(
        Descriptor(MediaType.OCI_MANIFEST, one.digest, one.size, required=True) for one in images
    )
    return Pushed(digest(name), 100, Manifest(MediaType.OCI_INDEX, references, None, None, {}))


def test_a_tag_moves_and_survives_a_restart(store: TagStore, tmp_path: Path) -> None:
    name = TagName("a/b", "Latest")
    for version in ("one", "two"):
        store.put(name, image(version), [])
        assert store.standing(name).digest == digest(version)
    assert store.standing(TagName("a/b", "latest")).digest is None
    again = TagStore(tmp_path / "repositories.sqlite")
    assert again.standing(name).digest == digest("two")
    again.close()


def test_a_deleted_manifest_takes_its_tags_along_and_no_others(store: TagStore) -> None:
    for tag in ("v1", "latest"):
        store.put(TagName("a", tag), image("one"), [])
    store.put(TagName("a", "v2"), image("two"), [])
    store.put(TagName("b", "v1"), image("one"), [])
    store.delete_manifest("a", digest("one"))
    assert store.tags("a", 10, "") == ["v2"]
    assert store.standing(TagName("b", "v1")).digest == digest("one")
    store.delete_manifest("a", digest("two"))
    assert store.tags("a", 10, "") == []
    with pytest.raises(NotFound):
        store.delete_manifest("a", digest("one"))


def test_a_deleted_tag_leaves_its_manifest(store: TagStore) -> None:
    store.put(TagName("a", "v1"), image("one", "layer"), [])
    store.delete_tag(TagName("a", "v1"))
    assert store.tags("a", 10, "") == []
    assert store.unreferenced([digest("layer")]) == []
    with pytest.raises(NotFound):
        store.delete_tag(TagName("a", "v1"))


def test_what_a_recorded_manifest_leads_to_is_referenced(store: TagStore) -> None:
    arm, intel = image("arm", "base", "arm layer"), image("intel", "base", "intel layer")
    both = index("both", arm, intel)
    store.put(TagName("a", "v1"), both, [arm, intel])
    everything = [digest(name) for name in ("both", "arm", "intel", "base", "arm layer")]
    assert store.unreferenced([*everything, digest("stray")]) == [digest("stray")]
    store.record("other", arm, [])
    store.delete_manifest("a", both.digest)
    assert store.unreferenced([digest("arm layer"), digest("base")]) == []
    assert store.unreferenced([digest("intel layer"), intel.digest]) == [
        digest("intel layer"), intel.digest]  # fmt: skip
    store.delete_manifest("other", arm.digest)
    assert store.unreferenced(everything) == everything


def test_tags_are_listed_without_regard_to_case_in_pages(store: TagStore) -> None:
    for tag in ("b", "A", "a", "C", "B"):
        store.put(TagName("r", tag), image("one"), [])
    assert store.tags("r", 10, "") == ["A", "a", "B", "b", "C"]
    assert store.tags("r", 2, "a") == ["B", "b"]
    assert store.tags("r", 2, "aa") == ["B", "b"]
    with pytest.raises(NotFound):
        store.tags("unknown", 10, "")


@given(st.sets(st.sampled_from("abcdefgh"), max_size=8), st.integers(1, 9))
def test_pages_of_repositories_make_the_whole(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], count: int
) -> None:
    store = TagStore(tmp_path_factory.mktemp("store") / "r.sqlite")
    for name in names:
        for tag in ("v1", "v2"):
            store.put(TagName(name, tag), image("one"), [])
    listed: list[str] = []
    while page := store.repositories(count, listed[-1] if listed else ""):
        assert len(page) <= count
        listed += page
    store.close()
    assert listed == sorted(names)


def referrers(
    store: TagStore, subject: Digest, artifact_type: str | None = None, last: str = ""
) -> list[dict[str, object]]:
    page = store.referrers("a", subject, artifact_type, 10, last)
    assert not page.more
    return [msgspec.json.decode(one) for one in page.manifests]


def test_referrers_come_whether_pushed_before_or_after_and_go_when_deleted(
    store: TagStore,
) -> None:
    subject = digest("subject")
    before = image("before", subject=subject, artifact_type=SBOM)
    after = image("after", subject=subject, artifact_type="text/plain")
    store.record("a", before, [])
    store.record("a", Pushed(subject, 1, image("subject").manifest), [])
    store.record("a", after, [])
    store.record("b", after, [])
    found = referrers(store, subject)
    assert {str(one["digest"]) for one in found} == {str(before.digest), str(after.digest)}
    assert referrers(store, subject, SBOM) == [
        {"mediaType": MediaType.OCI_MANIFEST, "digest": str(before.digest), "size": 100,
         "artifactType": SBOM, "annotations": {"name": "before"}}
    ]  # fmt: skip
    first, *rest = found
    page = store.referrers("a", subject, None, 1, "")
    assert ([msgspec.json.decode(one) for one in page.manifests], page.more) == ([first], True)
    assert referrers(store, subject, last=str(first["digest"])) == rest
    store.delete_manifest("a", before.digest)
    assert referrers(store, subject, SBOM) == []


def test_a_page_of_referrers_is_bounded_in_bytes(store: TagStore) -> None:
    subject, length = digest("subject"), REFERRERS_BYTES_MAX * 2 // 5
    for number in range(5):
        pushed = image(str(number), subject=subject)
        wordy = replace(pushed.manifest, annotations={"words": "w" * length})
        store.record("a", replace(pushed, manifest=wordy), [])
    last, pages = "", []
    while True:
        page = store.referrers("a", subject, None, 10, last)
        pages.append(len(page.manifests))
        if not page.more:
            break
        last = msgspec.json.decode(page.manifests[-1])["digest"]
    assert pages == [2, 2, 1]
    huge = replace(image("huge", subject=digest("other")).manifest,
                   annotations={"words": "w" * 2 * REFERRERS_BYTES_MAX})  # fmt: skip
    store.record("a", Pushed(digest("huge"), 1, huge), [])
    assert len(store.referrers("a", digest("other"), None, 10, "").manifests) == 1


def test_a_repository_holds_what_its_manifests_lead_to(store: TagStore) -> None:
    arm = image("arm", "layer")
    both = index("both", arm)
    store.put(TagName("a", "v1"), both, [arm])
    assert store.holds("a", arm.digest)
    assert not store.holds("b", arm.digest)
    assert not store.holds("a", digest("stray"))


def states(store: TagStore, epoch: str = "", seq: int = 0) -> list[tuple[str, str, str]]:
    changes = store.deletions.after(epoch, seq).changes
    return [(one.repository, one.digest, one.state) for one in changes]


def test_the_feed_tells_the_last_state_of_each_digest_in_order(store: TagStore) -> None:
    one, two = digest("one"), digest("two")
    store.record("a", image("one"), [])
    store.delete_manifest("a", one)
    store.deletions.add("a", two)
    seen = store.deletions.after("", 0)
    assert states(store) == [("a", str(one), DELETED), ("a", str(two), DELETED)]
    assert (store.deletions.has("a", two), store.deletions.has("b", two)) == (True, False)
    store.put(TagName("a", "v"), image("one", "two"), [])
    assert not store.deletions.has("a", two)
    assert states(store, seen.epoch, seen.seq) == [
        ("a", str(one), RESTORED), ("a", str(two), RESTORED)]  # fmt: skip
    store.collected([digest("three")])
    assert states(store)[-1] == ("", str(digest("three")), COLLECTED)
    assert store.deletions.after(seen.epoch, 5).changes == []
    assert len(states(store, "another history", 99)) == 3


def test_restoring_what_was_not_deleted_writes_nothing(store: TagStore) -> None:
    store.deletions.restore("a", [digest("one")])
    assert states(store) == []


def test_a_follower_of_numbers_to_come_begins_anew(store: TagStore) -> None:
    store.deletions.add("a", digest("one"))
    told = store.deletions.after("", 0)
    ahead = store.deletions.after(told.epoch, told.seq + 5)
    assert (ahead.changes, ahead.seq) == (told.changes, told.seq)
