"""What repositories hold: what was pushed there, and what their manifests need; nothing by name alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.oci import signatures
from octopull.oci.manifests import Descriptor, Manifest, MediaType
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.listings import Listings
from octopull.services.tag_index.repositories import Repositories
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.services.tag_index.tag_sources import TagSources

LAYER = "application/vnd.oci.image.layer.v1.tar"
IMAGE, INDEX = MediaType.OCI_MANIFEST, MediaType.OCI_INDEX


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TagStore]:
    opened = TagStore(tmp_path / "repositories.sqlite")
    yield opened
    opened.close()


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def made(kind: MediaType, name: str, *children: str, foreign: str = "") -> Pushed:
    media_type = IMAGE if kind is INDEX else LAYER
    references = [Descriptor(media_type, digest(one), 1, required=True) for one in children]
    if foreign:
        references.append(Descriptor(media_type, digest(foreign), 1, required=False))
    return Pushed(digest(name), 9, Manifest(kind, tuple(references), None, None, {}))


def held(store: TagStore, repository: str, *names: str) -> str:
    return "".join(name for name in names if store.holdings.held(repository, digest(name)))


def test_a_recorded_manifest_makes_its_repository_alone_hold_what_it_needs(
    store: TagStore,
) -> None:
    store.record("a", made(IMAGE, "m", "x", "y"), [])
    assert held(store, "a", "m", "x", "y", "z") == "mxy"
    assert held(store, "b", "m", "x", "y") == ""
    store.delete_manifest("a", digest("m"))
    assert held(store, "a", "m", "x", "y") == ""


def test_an_index_makes_what_its_images_need_be_held_and_a_layer_does_not(
    store: TagStore,
) -> None:
    image, index = made(IMAGE, "m", "x"), made(INDEX, "i", "m")
    store.record("theirs", image, [])
    store.record("a", index, [image])
    assert held(store, "a", "i", "m", "x") == "imx"
    assert store.holdings.held_as_manifest("a", digest("m"))
    store.record("b", made(IMAGE, "n", "m"), [])
    assert held(store, "b", "n", "m", "x") == "nm"
    assert not store.holdings.held_as_manifest("b", digest("m"))


def test_what_may_live_elsewhere_is_not_held_by_its_name(store: TagStore) -> None:
    image = made(IMAGE, "m", "x")
    store.record("theirs", image, [])
    store.record("a", made(IMAGE, "n", "y", foreign="x"), [])
    store.record("a", made(INDEX, "i", "n", foreign="m"), [])
    assert held(store, "a", "i", "n", "y", "m", "x") == "iny"
    assert not store.holdings.held_as_manifest("a", digest("m"))
    # It is where it is needed, too.
    store.record("a", made(IMAGE, "o", "x", foreign="x"), [])
    assert held(store, "a", "x") == "x"


def test_a_pushed_blob_is_held_until_it_is_referred_to_and_as_long_as_it_is(
    store: TagStore,
) -> None:
    store.holdings.pushed("a", digest("x"))
    store.holdings.pushed("a", digest("lone"))
    store.holdings.pushed("a", digest("x"))
    assert held(store, "a", "x", "lone") + held(store, "b", "x") == "xlone"
    store.record("a", made(IMAGE, "m", "x"), [])
    store.delete_manifest("a", digest("m"))
    assert held(store, "a", "x", "lone") == "lone"
    store.holdings.dropped("a", digest("lone"))
    assert held(store, "a", "lone") == ""


def test_what_was_collected_is_held_no_longer(store: TagStore) -> None:
    store.holdings.pushed("a", digest("x"))
    store.record("a", made(IMAGE, "m", foreign="y"), [])
    store.collected([digest("x"), digest("m")])
    assert held(store, "a", "x") == ""
    for table in ("pushed_blobs", "foreign_edges"):
        assert store.database.read(f"SELECT * FROM {table}") == []


class Everything:
    """A source that has all there is; ``asked`` counts how often it was asked for it."""

    store, tag_ttl_s = "", 0.0

    def __init__(self) -> None:
        self.asked = 0

    def of(self, repository: str) -> "Everything":
        del repository
        return self

    async def digest(self, name: TagName) -> Digest:
        raise NotFound("no tags", tag=str(name))

    async def holds(self, repository: str, manifest: Digest) -> bool:
        del repository, manifest
        return True

    async def vouches(self, repository: str, digest: Digest, *, is_manifest: bool) -> bool:
        del repository, digest, is_manifest
        self.asked += 1
        return True


async def test_a_source_is_asked_once_and_what_was_deleted_here_is_not_held_by_its_word(
    store: TagStore,
) -> None:
    source = Everything()
    repositories = Repositories(store, cast("TagSources", source), Listings(Tasks()))
    for _ in range(2):
        assert await repositories.held("a", [digest("m")], [digest("x")]) == [
            digest("m"), digest("x"),
        ]  # fmt: skip
    assert source.asked == 2
    store.deletions.add("a", digest("m"))
    assert await repositories.held("a", [digest("m")], [digest("x")]) == [digest("x")]
    assert await repositories.held("b", [digest("m")], []) == [digest("m")]


def above(store: TagStore, name: str, *, as_manifest: bool = False, of: str = "a") -> set[Digest]:
    return set(store.holdings.signed_above(of, digest(name), as_manifest=as_manifest))


def signs(image: str, kind: str = signatures.BUNDLE) -> Pushed:
    """A referrer of ``image``."""
    manifest = made(IMAGE, f"{kind} of {image}", f"bundle of {image}").manifest
    signature = replace(manifest, subject=digest(image), artifact_type=kind)
    return Pushed(digest(f"{kind} of {image}"), 9, signature)


def test_what_may_be_signed_is_told_for_each_digest_that_it_leads_to(store: TagStore) -> None:
    image, index = made(IMAGE, "m", "x", foreign="f"), made(INDEX, "i", "m")
    store.record("a", image, [])
    store.record("a", index, [image])
    for name in ("m", "i", "x"):
        assert above(store, name) == set(), "nothing is signed"
    store.record("a", signs("m", "application/sbom"), [])
    assert above(store, "x") == set(), "what refers to it signs nothing"
    store.record("a", signs("i"), [])
    for name in ("i", "m", "x"):
        assert above(store, name) == {digest("i")}
        assert above(store, name, of="b") == set()
    assert above(store, "f") == set(), "who names a foreign layer has not got it"
    assert above(store, "m", as_manifest=True) == {digest("i")}
    assert above(store, "x", as_manifest=True) == set(), "no layer is a manifest"
    store.record("a", made(IMAGE, "s", "payload"), [], [str(signatures.tag_of(digest("m")))])
    assert above(store, "x") == {digest("i"), digest("m")}
    assert above(store, "m", as_manifest=True) == {digest("i"), digest("m")}
    assert above(store, "payload") == {digest("s")}, "a signature has parts, too"
    assert above(store, "bundle of i") == {signs("i").digest}


def test_a_manifest_that_is_a_layer_is_none(store: TagStore) -> None:
    store.record("a", made(IMAGE, "m", "x"), [])
    store.record("a", made(IMAGE, "wrapping", "m"), [])
    store.record("a", signs("wrapping"), [])
    assert above(store, "m", as_manifest=True) == set()
    assert above(store, "m") == {digest("wrapping")}
    assert above(store, "x") == set()
