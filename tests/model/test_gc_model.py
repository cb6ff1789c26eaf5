"""Garbage collection against a model: pushes, deletes and a collector, a step at a time.

The stores are the real ones, time is virtual. Steps of one push and of one collection are rules
of their own, so that every other rule can come between any two of them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)  # fmt: skip

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.oci.manifests import parse
from octopull.services.tag_index.pushes import Pushes
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads
from support.memory import folder_in_memory
from support.registry import index, manifest

GRACE_S = 10
NS_PER_S = 1_000_000_000
LAYERS = [b"layer 0", b"layer 1"]
IMAGES = [manifest(LAYERS[0], LAYERS[0]), manifest(LAYERS[0], LAYERS[1])]
CONTENT = {Digest.of(one): one for one in [*LAYERS, *IMAGES, index(IMAGES[0])]}
HOW = [*["push", "head"] * 2, "lone or release"]
MANIFESTS = list(CONTENT)[len(LAYERS) :]


def pushed(digest: Digest) -> Pushed:
    return Pushed(digest, len(CONTENT[digest]), parse(CONTENT[digest], None))


def reach(digest: Digest) -> set[Digest]:
    """``digest`` and all it leads to."""
    if digest not in MANIFESTS:
        return {digest}
    below = (reach(reference.digest) for reference in pushed(digest).manifest.references)
    return {digest}.union(*below)


@dataclass
class Push:
    """A push between the first blob it keeps and the record."""

    manifest: Digest
    turn: AbstractContextManager[None]
    to_keep: list[Digest]


@dataclass
class Collection:
    """A page of a collection, as far as it came."""

    before_ns: int
    waits_for: list[asyncio.Event]
    page: list[Digest]
    garbage: list[Digest] | None = None
    gone: list[Digest] | None = None


class GcModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = folder_in_memory()  # Where a sync costs nothing.
        self.now_ns = 1_000_000 * NS_PER_S
        self.open_stores()
        self.pushes = Pushes()
        self.under_way: list[Push] = []
        self.collection: Collection | None = None
        self.after: Digest | None = None
        self.recorded: set[Digest] = set()
        self.lone: set[Digest] = set()

    def open_stores(self) -> None:
        root = Path(self.folder.name)
        self.blobs = DiskStore(root / "origin", lambda: self.now_ns)
        self.book = TagStore(root / "book.sqlite")

    @initialize()
    def old_blobs(self) -> None:
        """What an earlier push left half-way."""
        for digest in CONTENT:
            self.store(digest)
        self.wait(GRACE_S)

    def store(self, digest: Digest, *, lone: bool = False) -> None:
        uploads = Uploads(self.blobs)
        session = uploads.start()
        uploads.append(session, 0, CONTENT[digest])
        uploads.commit(session, digest, lone=lone)

    # Clients.

    @rule(digest=st.sampled_from(list(CONTENT)), how=st.sampled_from(HOW))
    def blob(self, digest: Digest, how: str) -> None:
        if how == "head":
            self.blobs.keep(digest)
        elif how == "push":
            self.store(digest)
        elif digest not in self.lone:
            self.store(digest, lone=True)
            self.lone.add(digest)
        else:
            self.blobs.release(digest)
            self.lone.remove(digest)

    @rule(number=st.integers(0, 2), digest=st.sampled_from(MANIFESTS), whole=st.booleans(),
          until=st.sampled_from(["some", "kept", "recorded"]), tag=st.booleans())  # fmt: skip
    def push(self, number: int, digest: Digest, whole: bool, until: str, tag: bool) -> None:
        """Go on with a push, or begin one, until some or all is kept or the manifest recorded."""
        if number < len(self.under_way):
            push = self.under_way[number]
        else:
            push = self.begin_push(digest, whole)
        self.keep(push, 1 if until == "some" else len(push.to_keep))
        if until == "recorded" and push in self.under_way:
            self.record(push, tag)

    def keep_all(self, push: Push) -> None:
        self.keep(push, len(push.to_keep))

    def keep(self, push: Push, count: int) -> None:
        for _ in range(count):
            if push.to_keep and self.blobs.keep(push.to_keep.pop()) is None:
                self.end(push)  # Refused: it refers to what is not there.
                return

    def begin_push(self, digest: Digest, whole: bool) -> Push:
        """By a client that pushes all blobs, or that found them there some time ago."""
        for one in sorted(reach(digest)) if whole else [digest]:
            self.store(one)
        turn = self.pushes.one()
        turn.__enter__()
        push = Push(digest, turn, sorted(reach(digest)))
        self.under_way.append(push)
        return push

    def record(self, push: Push, tag: bool) -> None:
        below = [pushed(one) for one in reach(push.manifest) if one in MANIFESTS]
        if tag:
            self.book.put(TagName("a", "tag"), pushed(push.manifest), below)
        else:
            self.book.record("a", pushed(push.manifest), below)
        self.recorded.add(push.manifest)
        self.end(push)

    def end(self, push: Push) -> None:
        push.turn.__exit__(None, None, None)
        self.under_way.remove(push)

    @rule(digest=st.sampled_from([*MANIFESTS, None]))
    def delete(self, digest: Digest | None) -> None:
        """A manifest, or the tag."""
        with suppress(NotFound):
            if digest is None:
                self.book.delete_tag(TagName("a", "tag"))
            else:
                self.book.delete_manifest("a", digest)
                self.recorded.remove(digest)

    # The collector: list, wait, ask, take, tell; as in services/tag_index/collector.py.

    @rule(grace_s=st.sampled_from([0, GRACE_S]), count=st.sampled_from([2, 99]),
          steps=st.sampled_from([1, 1, 1, 4]))  # fmt: skip
    def collect(self, grace_s: int, count: int, steps: int) -> None:
        for _ in range(steps):
            if self.collection is None:
                self.list_page(grace_s, count)
            else:
                self.go_on_collecting(self.collection)

    def list_page(self, grace_s: int, count: int) -> None:
        before_ns = self.now_ns - grace_s * NS_PER_S
        page = [digest for digest, _ in self.blobs.untouched(before_ns, self.after, count)]
        self.after = page[-1] if len(page) == count else None
        self.collection = Collection(before_ns, self.pushes.under_way(), page)

    def go_on_collecting(self, collection: Collection) -> None:
        if collection.garbage is None:
            if all(ended.is_set() for ended in collection.waits_for):
                collection.garbage = self.book.unreferenced(collection.page)
        elif collection.gone is None:
            sizes = {one: self.blobs.collect(one, collection.before_ns)
                     for one in collection.garbage}  # fmt: skip
            collection.gone = [digest for digest, size in sizes.items() if size is not None]
        else:
            self.book.collected(collection.gone)
            self.collection = None

    @rule(seconds=st.integers(1, GRACE_S + 2))
    def wait(self, seconds: int) -> None:
        self.now_ns += seconds * NS_PER_S

    @rule(really=st.sampled_from([False] * 5 + [True]))
    def restart(self, really: bool) -> None:
        """All processes, seldom: what was under way is lost."""
        if not really:
            return
        self.book.close()
        self.open_stores()
        while self.under_way:
            self.end(self.under_way[0])
        self.collection = None

    def quiet(self) -> None:
        """Once pushes ended, two collections leave exactly what is recorded or lone."""
        while self.under_way:
            self.end(self.under_way[0])
        self.wait(GRACE_S + 1)
        for _ in range(2):
            self.collection = self.after = None
            self.list_page(GRACE_S, 99)
            while self.collection is not None:
                self.go_on_collecting(self.collection)
        left = {entry.digest for entry in self.blobs.entries()}
        assert left == self.reached() | self.lone

    def reached(self) -> set[Digest]:
        return set().union(*map(reach, self.recorded))

    @invariant()
    def all_that_is_recorded_is_there_and_known_to_be_needed(self) -> None:
        there = {entry.digest for entry in self.blobs.entries()}
        assert self.reached() | self.lone <= there
        assert self.book.unreferenced(sorted(self.reached())) == []

    def teardown(self) -> None:
        try:
            self.quiet()
        finally:
            self.book.close()
            self.folder.cleanup()


GcModel.TestCase.settings = settings(
    max_examples=2 * settings().max_examples, stateful_step_count=40, deadline=None
)
TestGarbageCollection = GcModel.TestCase


IMAGE = MANIFESTS[0]
"""All that it leads to was pushed long ago, and nothing recorded leads to it."""


@pytest.fixture
def model() -> Iterator[GcModel]:
    one = GcModel()
    one.old_blobs()
    yield one
    one.all_that_is_recorded_is_there_and_known_to_be_needed()
    one.teardown()


def test_a_push_that_keeps_after_the_list_and_records_after_the_question(model: GcModel) -> None:
    model.collect(0, 99, steps=1)
    push = model.begin_push(IMAGE, whole=False)
    model.keep_all(push)
    model.collect(0, 99, steps=1)
    model.record(push, False)
    model.collect(0, 99, steps=2)


def test_a_push_that_keeps_before_the_list_and_records_after_it(model: GcModel) -> None:
    push = model.begin_push(IMAGE, whole=False)
    model.keep_all(push)
    model.wait(1)
    model.collect(0, 99, steps=3)  # The question waits.
    model.record(push, False)
    model.collect(0, 99, steps=3)


def test_a_push_of_what_was_taken_before_its_edges_are_dropped(model: GcModel) -> None:
    push = model.begin_push(IMAGE, whole=True)
    model.keep_all(push)
    model.record(push, False)
    model.delete(IMAGE)
    model.wait(1)
    model.collect(0, 99, steps=3)
    assert not model.blobs.path(IMAGE).exists()
    push = model.begin_push(IMAGE, whole=True)
    model.keep_all(push)
    model.record(push, False)
    model.collect(0, 99, steps=1)


def test_a_push_is_refused_if_it_comes_after_the_take(model: GcModel) -> None:
    model.collect(0, 99, steps=3)
    push = model.begin_push(IMAGE, whole=False)
    model.keep_all(push)
    assert model.under_way == []
