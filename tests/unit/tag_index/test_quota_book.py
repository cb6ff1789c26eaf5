"""What counts for quotas: what was pushed before there were any, too; foreign layers and upstreams not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Denied
from octopull.oci.manifests import Descriptor, Manifest, MediaType
from octopull.security.globs import Glob
from octopull.services.tag_index.quota_book import Counted
from octopull.services.tag_index.quotas import Quota, Quotas
from octopull.services.tag_index.store import Pushed, TagStore

LAYER = "application/vnd.oci.image.layer.v1.tar"
EVERYTHING = Quota("all", (Glob("**"),), 100)


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def image(name: str, sizes: dict[str, int], foreign: str = "") -> Pushed:
    """A manifest of one byte, and what it needs."""
    references = [Descriptor(LAYER, digest(one), 1, required=True) for one in sizes]
    if foreign:
        references.append(Descriptor(LAYER, digest(foreign), 1, required=False))
    manifest = Manifest(MediaType.OCI_MANIFEST, tuple(references), None, None, {})
    return Pushed(digest(name), 1, manifest, {digest(one): size for one, size in sizes.items()})


@dataclass
class Book:
    """A store whose quotas come and go."""

    path: Path
    quotas: Quotas = field(default_factory=Quotas)

    def __post_init__(self) -> None:
        counted = Counted(lambda: self.quotas, lambda name: name.startswith("docker.io/"))
        self.store = TagStore(self.path, counted=counted)

    def used(self) -> int:
        return self.store.quotas.measure(EVERYTHING, {})[0]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    found = Book(tmp_path / "book.sqlite")
    yield found
    found.store.close()


def test_sizes_are_noted_only_where_there_is_a_quota_and_asked_for_where_they_are_not_known(
    book: Book,
) -> None:
    book.store.record("a", image("old", {"x": 40}), [])
    assert book.store.database.read("SELECT * FROM sizes") == []
    book.quotas = Quotas([EVERYTHING])
    assert book.store.quotas.unknown(9) == {digest("old"): "a", digest("x"): "a"}
    assert len(book.store.quotas.unknown(1)) == 1
    book.store.quotas.note({digest("x"): 40})
    assert (book.used(), book.store.quotas.unknown(9)) == (40, {digest("old"): "a"})


def test_what_was_held_before_counts_as_soon_as_its_size_is_told(book: Book) -> None:
    book.store.record("a", image("old", {"x": 60}), [])
    book.quotas = Quotas([EVERYTHING])
    assert book.used() == 0
    # Now it is known of "x" how much it is, and what follows must not be let in by an old ledger.
    book.store.record("a", image("new", {"x": 60, "y": 9}), [])
    with pytest.raises(Denied, match="adding 41 B to the 70 B"):
        book.store.record("a", image("more", {"z": 40}), [])


def test_a_blob_that_was_lost_takes_room_when_it_is_back(book: Book) -> None:
    book.quotas = Quotas([EVERYTHING])
    book.store.record("a", image("one", {"x": 90}), [])
    book.store.quotas.note({digest("x"): 0})
    assert book.used() == 1
    book.store.record("a", image("two", {"y": 50}), [])
    with pytest.raises(Denied, match="adding 90 B to the 52 B"):
        book.store.blob_pushed("a", digest("x"), 90, held=False, exempt=False)
    book.store.delete_manifest("a", digest("two"))
    book.store.blob_pushed("a", digest("x"), 90, held=False, exempt=False)
    assert book.used() == 91


def test_a_layer_that_lives_elsewhere_and_what_is_an_upstreams_count_nothing(book: Book) -> None:
    book.quotas = Quotas([EVERYTHING])
    book.store.record("b", image("theirs", {"x": 50}), [])
    book.store.delete_manifest("b", digest("theirs"))
    book.store.record("a", image("ours", {}, foreign="x"), [])
    book.store.record("docker.io/nginx", image("nginx", {"n": 5000}), [])
    assert book.used() == 1
    assert book.store.quotas.unknown(9) == {}
    assert book.store.quotas.room("docker.io/nginx", {digest("n"): 5000}, 0) == {}
    assert book.store.quotas.room("a", {}, 0) == {"all": 99}


def test_a_blob_whose_size_nobody_told_is_held_where_there_is_a_quota(book: Book) -> None:
    book.store.blob_pushed("a", digest("x"), None, held=False, exempt=False)
    assert not book.store.holdings.held("a", digest("x"))
    book.quotas = Quotas([EVERYTHING])
    book.store.blob_pushed("a", digest("x"), None, held=False, exempt=False)
    assert book.store.holdings.held("a", digest("x"))
    assert book.store.quotas.unknown(9) == {digest("x"): "a"}
    book.store.blob_pushed("a", digest("x"), 90, held=False)
    assert (book.store.quotas.unknown(9), book.used()) == ({}, 90)


def test_sizes_of_what_was_collected_are_forgotten(book: Book) -> None:
    book.quotas = Quotas([EVERYTHING])
    book.store.blob_pushed("a", digest("x"), 7, held=False, exempt=False)
    assert book.used() == 7
    book.store.collected([digest("x")])
    assert book.used() == 0
    assert book.store.database.read("SELECT * FROM sizes") == []
