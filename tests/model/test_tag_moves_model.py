"""Clusters that tell each other of tags: whatever is moved where, and whenever it is told, they agree."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.oci.manifests import Manifest, MediaType
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.services.tag_index.tag_tasks import lane_of_remote
from support.memory import folder_in_memory

REPOSITORY = "team/app"
TELLINGS_MAX = 2000


@dataclass
class Clock:
    """A cluster's, which may be wrong, and set back."""

    now_s: float

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Always:
    """The same remotes for every repository."""

    remotes: list[str]

    def __call__(self, repository: str) -> list[str]:
        del repository
        return self.remotes


@dataclass
class Site:
    """A cluster's book; every tag goes to all others."""

    name: str
    store: TagStore
    clock: Clock
    others: list["Site"] = field(default_factory=list["Site"])

    def push(self, name: TagName, version: int, moved_at: float | None = None) -> None:
        manifest = Manifest(MediaType.OCI_MANIFEST, (), None, None, {})
        pushed = Pushed(digest(version), 1, manifest)
        self.store.record(name.repository, pushed, [], [name.tag], moved_at)

    def delete(self, name: TagName, moved_at: float | None = None) -> None:
        with suppress(NotFound):
            self.store.delete_tag(name, moved_at)

    def delete_manifest(self, about: Digest, moved_at: float | None = None) -> None:
        with suppress(NotFound):
            self.store.delete_manifest(REPOSITORY, about, moved_at)

    def tell(self, other: "Site") -> bool:
        """Tell ``other`` of the first thing it is to be told of, as replication does."""
        due = self.store.tasks.due(lane_of_remote(other.name), 1)
        for task in due:
            repository, reference = task.key.split(" ")
            if ":" in reference:
                self._tell_manifest(other, Digest.parse(reference))
            else:
                self._tell_tag(other, TagName(repository, reference))
            assert self.store.tasks.end(task)
        return bool(due)

    def _tell_tag(self, other: "Site", name: TagName) -> None:
        move = self.store.moves.of(name)
        if move.digest is None:
            other.delete(name, move.at)
        else:
            manifest = Manifest(MediaType.OCI_MANIFEST, (), None, None, {})
            pushed = Pushed(move.digest, 1, manifest)
            other.store.record(name.repository, pushed, [], [name.tag], move.at)

    def _tell_manifest(self, other: "Site", about: Digest) -> None:
        standing = self.store.replicated.standing(REPOSITORY, about)
        if standing.deleted_at is not None:
            other.delete_manifest(about, standing.deleted_at)


def digest(version: int) -> Digest:
    return Digest.of(str(version).encode())


def all_told(sites: Sequence[Site]) -> bool:
    """Have everybody tell everybody else; whether that has an end."""
    pairs = [(site, other) for site in sites for other in site.others]
    for _ in range(TELLINGS_MAX):
        told = [site.tell(other) for site, other in pairs]
        if not any(told):
            return True
    return False


Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "delete", "delete manifest", "tell", "tick"]),
        st.integers(0, 2), st.integers(0, 2), st.integers(0, 3),
    ),
    max_size=40,
)  # fmt: skip


def opened(folder: Path, clocks: Sequence[float]) -> list[Site]:
    names = "abc"[: len(clocks)]
    sites = []
    for name, now_s in zip(names, clocks, strict=True):
        others, clock = [one for one in names if one != name], Clock(now_s)
        store = TagStore(folder / f"{name}.sqlite", remotes_of=Always(others), clock=clock)
        sites.append(Site(name, store, clock))
    for site in sites:
        site.others = [one for one in sites if one is not site]
    return sites


@given(
    clocks=st.lists(st.sampled_from([1000.0, 1001.0, 1500.0]), min_size=2, max_size=3), steps=STEPS
)
def test_clusters_agree_once_all_was_told(clocks: list[float], steps: list[Step]) -> None:
    with folder_in_memory() as folder:
        sites = opened(Path(folder), clocks)
        for what, at, number, version in steps:
            site, name = sites[at % len(sites)], TagName(REPOSITORY, f"t{number}")
            if what == "push":
                site.push(name, version)
            elif what == "delete":
                site.delete(name)
            elif what == "delete manifest":
                site.delete_manifest(digest(version))
            elif what == "tell":
                site.tell(site.others[number % len(site.others)])
            else:
                site.clock.now_s += version - 1  # Which may set it back.
        assert all_told(sites), "they go on telling each other for ever"
        stand = [
            [site.store.moves.of(TagName(REPOSITORY, f"t{n}")).digest for n in range(3)]
            for site in sites
        ]
        for site in sites:
            site.store.close()
        assert all(one == stand[0] for one in stand)


def test_the_last_writer_wins_though_its_word_comes_first(tmp_path: Path) -> None:
    here, there = opened(tmp_path, [1000.0, 1000.0])
    name = TagName(REPOSITORY, "v1")
    there.push(name, 1)
    here.clock.now_s += 1
    here.push(name, 2)
    assert here.tell(there)
    assert there.tell(here)
    assert all_told([here, there])
    newest = Digest.of(b"2")
    assert {one.store.moves.of(name).digest for one in (here, there)} == {newest}
    here.store.close()
    there.store.close()


def test_a_deleted_tag_does_not_come_back_from_whom_it_was_copied_to(tmp_path: Path) -> None:
    here, there = opened(tmp_path, [1000.0, 900.0])
    name = TagName(REPOSITORY, "v1")
    here.push(name, 1)
    here.tell(there)
    here.delete(name)
    # Its echo comes before the deletion is told.
    assert there.tell(here)
    assert here.store.moves.of(name).digest is None
    assert all_told([here, there])
    assert there.store.moves.of(name).digest is None
    here.store.close()
    there.store.close()


def test_a_deletion_that_comes_late_leaves_what_was_pushed_since(tmp_path: Path) -> None:
    here, there = opened(tmp_path, [1000.0, 1000.0])
    name = TagName(REPOSITORY, "v1")
    here.push(name, 1)
    here.tell(there)
    here.delete(name)
    there.clock.now_s += 10
    there.push(name, 2)
    assert all_told([here, there])
    assert {one.store.moves.of(name).digest for one in (here, there)} == {Digest.of(b"2")}
    here.store.close()
    there.store.close()


def test_a_tag_that_moved_off_a_manifest_outlives_it_everywhere(tmp_path: Path) -> None:
    here, there = opened(tmp_path, [1000.0, 1000.0])
    name = TagName(REPOSITORY, "v1")
    here.push(name, 1)
    assert all_told([here, there])
    here.clock.now_s += 10
    here.push(name, 2)
    here.clock.now_s += 10
    here.delete_manifest(digest(1))
    # Of the manifest the other hears before it hears of the tag.
    there.delete_manifest(digest(1), here.clock.now_s)
    assert all_told([there, here])
    assert {one.store.moves.of(name).digest for one in (here, there)} == {digest(2)}
    here.store.close()
    there.store.close()


def test_a_move_is_later_than_what_the_other_had_though_that_was_the_same(tmp_path: Path) -> None:
    ahead, behind = opened(tmp_path, [1005.0, 1000.0])
    name = TagName(REPOSITORY, "v1")
    # Both have the same image, and hear since when the other has it.
    ahead.push(name, 1)
    behind.push(name, 1)
    assert all_told([ahead, behind])
    behind.clock.now_s += 1
    behind.push(name, 2)
    assert all_told([ahead, behind])
    stand = {one.store.moves.of(name).digest for one in (ahead, behind)}
    assert stand == {digest(2)}
    ahead.store.close()
    behind.store.close()


def test_a_deletion_counts_though_it_is_heard_of_before_the_push(tmp_path: Path) -> None:
    a, b, c = opened(tmp_path, [1000.0, 1001.0, 1000.0])
    name = TagName(REPOSITORY, "v1")
    a.push(name, 1)
    assert a.tell(b)
    b.delete(name)
    assert b.tell(c)
    assert a.tell(c)
    assert c.store.moves.of(name).digest is None
    for one in (a, b, c):
        one.store.close()


def test_what_is_told_twice_is_not_refused_and_does_not_age(tmp_path: Path) -> None:
    here, there = opened(tmp_path, [1000.0, 1000.0])
    name = TagName(REPOSITORY, "v1")
    manifest = Manifest(MediaType.OCI_MANIFEST, (), None, None, {})
    pushed = Pushed(Digest.of(b"1"), 1, manifest)
    for at in (900.0, 900.0, 800.0):
        assert here.store.record(REPOSITORY, pushed, [], ["v1"], at)
    assert here.store.moves.of(name).at == 900.0
    here.store.close()
    there.store.close()
