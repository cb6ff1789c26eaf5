"""A book of several tag indexes: changes are rehearsed, agreed on, and the same everywhere."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Denied, NotFound, Unavailable
from octopull.kernel.names import TagName
from octopull.oci.manifests import Descriptor, Manifest, MediaType
from octopull.security.globs import Glob
from octopull.services.tag_index import outbox, statements
from octopull.services.tag_index.database import Applied
from octopull.services.tag_index.quota_book import NOTHING, Counted
from octopull.services.tag_index.quotas import Quota, Quotas
from octopull.services.tag_index.statements import Change
from octopull.services.tag_index.store import TOLD_AT_ONCE, Pushed, TagStore
from octopull.services.tag_index.tag_tasks import lane_of_remote

NAME = TagName("a/b", "v1")


def image(name: str) -> Pushed:
    return Pushed(Digest.of(name.encode()), 1, Manifest(MediaType.OCI_MANIFEST, (), None, "", {}))


class Books:
    """Two books, and a log that both follow."""

    def __init__(self, folder: Path, counted: Counted = NOTHING) -> None:
        self.ours = TagStore(folder / "ours.sqlite", lambda _: "lane", counted=counted)
        self.theirs = TagStore(folder / "theirs.sqlite", lambda _: "lane", counted=counted)
        self.log: list[bytes] = []
        self.refuses = False
        self.ours.database.share(self.agree)

    def agree(self, change: Change, rehearsed_on: int) -> None:
        assert rehearsed_on == len(self.log)
        assert self.ours.standing(NAME) == self.seen
        if self.refuses:
            raise Unavailable("no majority")
        self.log.append(statements.encode(change))
        for one in (self.ours, self.theirs):
            one.database.apply([statements.decode(self.log[-1])], Applied(len(self.log), 1))

    @property
    def seen(self) -> object:
        """What the other knows of the tag."""
        return self.theirs.standing(NAME)

    def dump(self, store: TagStore) -> list[str]:
        """All that is kept."""
        with sqlite3.connect(store.database.path) as file:
            return [line for line in file.iterdump() if "book" not in line]


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    found = Books(tmp_path)
    yield found
    found.ours.close()
    found.theirs.close()


def test_what_is_agreed_on_is_the_same_everywhere_and_nothing_before(books: Books) -> None:
    books.ours.put(NAME, image("one"), [])
    books.ours.put(TagName("a/b", "v2"), image("two"), [image("one")])
    books.ours.delete_manifest("a/b", image("one").digest)
    books.ours.forget("a/b", "v9")
    assert books.dump(books.ours) == books.dump(books.theirs)
    assert books.ours.standing(NAME).digest is None
    assert len(books.log) == 4


def test_what_is_not_agreed_on_leaves_no_trace(books: Books) -> None:
    books.ours.put(NAME, image("one"), [])
    before = books.dump(books.ours)
    books.refuses = True
    with pytest.raises(Unavailable, match="no majority"):
        books.ours.put(NAME, image("two"), [])
    assert books.dump(books.ours) == before


def test_a_refusal_is_not_agreed_on(books: Books) -> None:
    with pytest.raises(NotFound):
        books.ours.delete_tag(NAME)
    assert books.log == []


def test_a_change_that_was_asked_for_twice_happens_once(books: Books) -> None:
    books.ours.record("a/b", image("one"), [], ["v1"], operation="first")
    books.ours.record("a/b", image("two"), [], ["v1"], operation="second")
    books.ours.record("a/b", image("one"), [], ["v1"], operation="first")
    assert books.theirs.standing(NAME).digest == image("two").digest
    books.ours.delete_tag(NAME, operation="third")
    books.ours.delete_tag(NAME, operation="third")


@pytest.mark.parametrize("held", [True, False])
def test_a_push_or_deletion_of_a_blob_that_was_asked_for_twice_happens_once(
    books: Books, *, held: bool
) -> None:
    digest, there = image("one").digest, books.theirs.deletions

    def pushed() -> bool:
        return books.theirs.holdings.was_pushed("a/b", digest)

    books.ours.delete_blob("a/b", digest, "first")
    books.ours.blob_pushed("a/b", digest, held=held, operation="second")
    books.ours.delete_blob("a/b", digest, "first")
    assert (there.has("a/b", digest), pushed()) == (False, held)
    books.ours.delete_blob("a/b", digest, "third")
    books.ours.blob_pushed("a/b", digest, held=held, operation="second")
    assert (there.has("a/b", digest), pushed()) == (True, False)
    books.ours.blob_pushed("a/b", digest, held=held, operation="fourth")
    assert (there.has("a/b", digest), pushed()) == (False, held)
    before = len(books.log)
    books.ours.blob_pushed("a/b", digest, held=held, operation="fifth")
    assert len(books.log) == before, "a push of what is there is not written"


def test_what_was_refused_is_refused_again(books: Books) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            books.ours.delete_tag(NAME, operation="first")
        with pytest.raises(NotFound):
            books.ours.delete_manifest("a/b", image("one").digest, operation="second")
    assert books.log == []


def test_what_was_kept_from_older_changes_is_kept_again(books: Books) -> None:
    one, two = image("one"), image("two")
    books.ours.record("a/b", one, [], ["v1"], 1000.0)
    for _ in range(2):
        assert not books.ours.record("a/b", two, [], ["v1"], 900.0, operation="first")
        assert not books.ours.delete_tag(NAME, 900.0, operation="second")
        assert not books.ours.delete_manifest("a/b", one.digest, 900.0, operation="third")
    for _ in range(2):
        assert books.ours.record("a/b", two, [], ["v1"], 1100.0, operation="fourth")
    for _ in range(2):
        assert books.ours.delete_tag(NAME, 1200.0, operation="fifth")
        assert books.ours.delete_manifest("a/b", one.digest, 1200.0, operation="sixth")


def test_however_much_a_remote_is_told_each_change_is_short(books: Books) -> None:
    tags = [f"v{number}" for number in range(TOLD_AT_ONCE + 1)]
    books.ours.tell("eu", "a/b", tags, overwrite=True)
    assert len(books.log) == 2
    assert len(books.theirs.tasks.due(lane_of_remote("eu"), 2 * TOLD_AT_ONCE)) == len(tags)


async def test_a_left_upload_is_one_change(books: Books) -> None:
    await books.ours.left_uploads.leave("eu", "a/b", image("one").digest, "https://eu/1")
    assert len(books.log) == 1


def test_changes_that_a_book_has_are_not_made_again(books: Books) -> None:
    for number in range(3):
        books.ours.put(NAME, image(str(number)), [])
    changes = [statements.decode(payload) for payload in books.log]
    before = books.dump(books.theirs)
    books.theirs.database.apply(changes, Applied(3, 1))
    books.theirs.database.apply(changes[1:], Applied(3, 1))
    assert books.dump(books.theirs) == before


def test_a_copy_is_the_whole_book(books: Books, tmp_path: Path) -> None:
    books.ours.put(NAME, image("one"), [])
    copied = books.ours.database.copy(tmp_path / "copy.sqlite")
    third = TagStore(tmp_path / "third.sqlite")
    assert third.database.replace(tmp_path / "copy.sqlite", copied) == copied == Applied(1, 1)
    assert third.book() == books.ours.book()
    assert third.standing(NAME).digest == image("one").digest
    third.close()


def test_a_damaged_copy_is_refused(books: Books, tmp_path: Path) -> None:
    books.ours.put(NAME, image("one"), [])
    path = tmp_path / "copy.sqlite"
    copied = books.ours.database.copy(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = books.dump(books.theirs)
    with pytest.raises(Unavailable):
        books.theirs.database.replace(path, copied)
    assert books.dump(books.theirs) == before


@pytest.mark.parametrize(
    "statement",
    ["ATTACH 'elsewhere.sqlite' AS other", "DROP TABLE tags", "PRAGMA user_version = 7",
     "CREATE TABLE more (x)", "VACUUM INTO 'elsewhere.sqlite'"],
)  # fmt: skip
def test_a_change_can_do_nothing_but_change_rows(books: Books, statement: str) -> None:
    before = books.dump(books.theirs)
    with pytest.raises(Unavailable):
        books.theirs.database.apply([[(statement, [[]])]], Applied(1, 1))
    assert books.dump(books.theirs) == before


@given(st.binary())
@example(b"\x91\x91\xa1\x80")
def test_noise_is_no_change_and_no_message(noise: bytes) -> None:
    for decode in (statements.decode, outbox.decode):
        with suppress(Corrupt):
            decode(noise)


def test_what_repositories_hold_is_the_same_everywhere(books: Books) -> None:
    layer, lone, away = (Digest.of(name) for name in (b"layer", b"lone", b"away"))
    for digest in (layer, lone):
        books.ours.holdings.pushed("a/b", digest)
    references = (
        Descriptor("x", layer, 1, required=True),
        Descriptor("x", away, 1, required=False),
    )
    manifest = Manifest(MediaType.OCI_MANIFEST, references, None, "", {})
    books.ours.put(NAME, Pushed(Digest.of(b"image"), 1, manifest), [])
    books.ours.holdings.dropped("a/b", lone)
    assert books.dump(books.ours) == books.dump(books.theirs)
    held = [books.theirs.holdings.held("a/b", one) for one in (layer, lone, away)]
    assert held == [True, False, False]


def test_a_quota_is_decided_by_the_one_that_leads_and_the_others_know_as_much(
    tmp_path: Path,
) -> None:
    quotas = Quotas([Quota("all", (Glob("**"),), 10)])
    books = Books(tmp_path, Counted(lambda: quotas, lambda _: False))
    layer = Digest.of(b"layer")
    for name, size in (("one", 6), ("two", 3)):
        one = replace(image(name), sizes={layer: size})
        # What is not agreed on counts for nothing, and may be asked for again.
        books.refuses = True
        with pytest.raises(Unavailable):
            books.ours.record("a/b", one, [])
        books.refuses = False
        books.ours.record("a/b", one, [])
    assert books.dump(books.ours) == books.dump(books.theirs)
    with pytest.raises(Denied, match="adding 9 B to the 2 B"):
        books.ours.record("a/c", replace(image("three"), sizes={Digest.of(b"more"): 8}), [])
    books.theirs.take_over()
    with pytest.raises(Denied, match="adding 9 B to the 2 B"):
        books.theirs.record("a/c", replace(image("three"), sizes={Digest.of(b"more"): 8}), [])
    books.ours.close()
    books.theirs.close()


def test_a_push_of_a_blob_that_a_quota_counts_is_written_once(tmp_path: Path) -> None:
    quotas = Quotas([Quota("all", (Glob("**"),), 10)])
    books = Books(tmp_path, Counted(lambda: quotas, lambda _: False))
    blob, more = Digest.of(b"a blob"), Digest.of(b"more")
    books.ours.blob_pushed("a/b", blob, 6, held=False, operation="first")
    before = len(books.log)
    books.ours.blob_pushed("a/b", blob, 6, held=False, operation="second")
    assert len(books.log) == before, "a push of what is there is not written"
    with pytest.raises(Denied):
        books.ours.blob_pushed("a/b", more, 5, held=False, operation="third")
    books.ours.delete_blob("a/b", blob, "fourth")
    books.ours.blob_pushed("a/b", blob, 6, held=False, operation="first")
    assert not books.theirs.holdings.held("a/b", blob)
    books.ours.blob_pushed("a/b", more, 10, held=False, operation="third")
    assert books.theirs.holdings.held("a/b", more)
    books.ours.close()
    books.theirs.close()
