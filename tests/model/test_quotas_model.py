"""Quotas against a model: whatever is pushed, deleted and collected, what is used is what repositories
hold, each digest once, and a push is refused if and only if it would go beyond a quota.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Denied
from octopull.oci.manifests import parse
from octopull.security.globs import Glob
from octopull.services.tag_index import usage
from octopull.services.tag_index.quota_book import Counted
from octopull.services.tag_index.quotas import Quota, Quotas
from octopull.services.tag_index.store import Pushed, TagStore
from support.memory import folder_in_memory
from support.registry import index, manifest

BLOBS = [bytes([65 + at]) * size for at, size in enumerate((1000, 400, 30, 2))]
IMAGES = [manifest(BLOBS[3], BLOBS[0]), manifest(BLOBS[3], BLOBS[0], BLOBS[1]), manifest(BLOBS[2])]
INDEXES = [index(IMAGES[0], IMAGES[2])]
CONTENT = {Digest.of(one): one for one in [*BLOBS, *IMAGES, *INDEXES]}
MANIFESTS = [Digest.of(one) for one in [*IMAGES, *INDEXES]]
REPOSITORIES = ["team/a", "team/b", "other"]
LIMITS = [0, 500, 1500, 2500, 4000, 10_000]

repositories = st.sampled_from(REPOSITORIES)
manifests = st.sampled_from(MANIFESTS)
blobs = st.sampled_from([Digest.of(one) for one in BLOBS])


def reach(digest: Digest) -> set[Digest]:
    """``digest`` and all it leads to."""
    if digest not in MANIFESTS:
        return {digest}
    references = parse(CONTENT[digest], None).references
    return {digest}.union(*(reach(one.digest) for one in references))


def pushed(digest: Digest) -> Pushed:
    found = parse(CONTENT[digest], None)
    sizes = {one.digest: len(CONTENT[one.digest]) for one in found.references}
    return Pushed(digest, len(CONTENT[digest]), found, sizes)


def size(digests: Iterable[Digest]) -> int:
    return sum(len(CONTENT[one]) for one in digests)


class QuotaModel(RuleBasedStateMachine):
    """A book with two quotas, one within the other, beside sets of what repositories hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = folder_in_memory()
        self.quotas = Quotas()
        self.limits(10_000, 10_000)
        counted = Counted(lambda: self.quotas, lambda _: False)
        self.book = TagStore(Path(self.folder.name) / "book.sqlite", counted=counted)
        self.recorded: set[tuple[str, Digest]] = set()
        self.blobs: set[tuple[str, Digest]] = set()

    def teardown(self) -> None:
        self.book.close()
        self.folder.cleanup()

    def held(self, quota: Quota) -> set[Digest]:
        recorded = [reach(digest) for name, digest in self.recorded if quota.covers(name)]
        return {digest for name, digest in self.blobs if quota.covers(name)}.union(*recorded)

    def fits(self, repository: str, arriving: set[Digest]) -> bool:
        for quota in self.quotas.of(repository):
            held = self.held(quota)
            adding = size(arriving - held)
            if adding and size(held) + adding > quota.limit:
                return False
        return True

    @rule(team=st.sampled_from(LIMITS), everything=st.sampled_from(LIMITS))
    def limits(self, team: int, everything: int) -> None:
        self.quotas = Quotas(
            [
                Quota("team", (Glob("team/*"),), team),
                Quota("everything", (Glob("other"), Glob("**")), everything),
            ]
        )

    @rule(repository=repositories, digest=manifests, exempt=st.booleans())
    def push(self, repository: str, digest: Digest, exempt: bool) -> None:
        below = [pushed(one) for one in reach(digest) - {digest} if one in MANIFESTS]
        fits = exempt or self.fits(repository, reach(digest))
        if fits:
            self.book.record(repository, pushed(digest), below, exempt=exempt)
            self.recorded.add((repository, digest))
            self.blobs -= {(repository, one) for one in reach(digest) - {digest}}
        else:
            with pytest.raises(Denied):
                self.book.record(repository, pushed(digest), below)

    @rule(repository=repositories, digest=blobs, exempt=st.booleans())
    def push_blob(self, repository: str, digest: Digest, exempt: bool) -> None:
        counts = size([digest])
        if exempt or self.fits(repository, {digest}):
            self.book.blob_pushed(repository, digest, counts, held=False, exempt=exempt)
            self.blobs.add((repository, digest))
        else:
            with pytest.raises(Denied):
                self.book.blob_pushed(repository, digest, counts, held=False, exempt=False)

    @rule(repository=repositories, digest=st.sampled_from(list(CONTENT)), more=st.integers(0, 99))
    def ask(self, repository: str, digest: Digest, more: int) -> None:
        try:
            left = self.book.quotas.room(repository, {digest: size([digest])}, more)
        except Denied:
            quotas = self.quotas.of(repository)
            held = {one.name: self.held(one) for one in quotas}
            assert any(size(held[one.name] | {digest}) + more > one.limit for one in quotas)
        else:
            for quota in self.quotas.of(repository):
                assert left[quota.name] <= max(quota.limit - size(self.held(quota)), 0)
                adding = size({digest} - self.held(quota)) + more
                assert not adding or adding + size(self.held(quota)) <= quota.limit

    @rule(repository=repositories, digest=manifests)
    def push_that_fails(self, repository: str, digest: Digest) -> None:
        with pytest.raises(OSError, match="disk"), self.book.database.transaction():
            self.book.quotas.admit(repository, {digest: size([digest])}, exempt=True)
            raise OSError("disk full")

    @rule(digest=manifests)
    def delete(self, digest: Digest) -> None:
        for repository, one in [pair for pair in self.recorded if pair[1] == digest]:
            self.book.delete_manifest(repository, one)
            self.recorded.remove((repository, one))

    @rule()
    def collect(self) -> None:
        """All garbage, as the collector finds it."""
        gone = self.book.unreferenced(list(CONTENT))
        self.book.collected(gone)
        self.blobs = {pair for pair in self.blobs if pair[1] not in gone}

    @rule()
    def measure(self) -> None:
        for quota in self.quotas.all:
            assert self.book.quotas.measure(quota, {}) == (size(self.held(quota)), 0)

    @rule()
    def take_over(self) -> None:
        self.book.take_over()

    @invariant()
    def what_is_used_is_what_is_held(self) -> None:
        with self.book.database.snapshot() as snapshot:
            for quota in self.quotas.all:
                names = usage.repositories(snapshot, quota.globs)
                assert {name for name, _ in self.recorded | self.blobs if quota.covers(name)} == {
                    *names
                }
                assert usage.weigh(snapshot, names, {}).used == size(self.held(quota))
                assert usage.unknown(snapshot, names, 9) == {}
                most = self.book.quotas._ledger(quota).most
                assert most is None or most >= size(self.held(quota))


TestQuotas = QuotaModel.TestCase
