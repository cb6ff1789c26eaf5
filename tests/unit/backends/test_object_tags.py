"""Tags as links: what docker-registry wrote is read, pages are in order, old links go too."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.backends import object_tags, tag_keys
from octopull.backends.contract import Feature, Objects, check_key
from octopull.backends.files import Files
from octopull.backends.object_tags import LINK_BYTES_MAX, ObjectTags
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import InvalidName, NotFound, Unavailable, Unsupported, UpstreamFailed
from octopull.kernel.names import TagName
from octopull.kernel.names import tag as check_tag
from support.failing import Failing

NAME = TagName("team/app", "v1")
A, B = Digest.of(b"a"), Digest.of(b"b", Algorithm.SHA512)
# Few letters, so that one name often begins with another.
tag_names = st.text(alphabet="a1.-_Z", min_size=1, max_size=6).filter(
    lambda text: text[0] not in ".-"
)
repositories = st.from_regex(r"[a-z0-9]{1,4}(/[a-z0-9]{1,4}){0,2}", fullmatch=True)
digests = st.binary(max_size=4).flatmap(
    lambda content: st.sampled_from([Digest.of(content, one) for one in Algorithm])
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def over(objects: Objects) -> ObjectTags:
    return ObjectTags(objects, "store", read_only=False)


def put(root: Path, key: str, content: bytes) -> None:
    (root / key).parent.mkdir(parents=True, exist_ok=True)
    (root / key).write_bytes(content)


async def test_a_link_is_read_whatever_is_around_it(root: Path) -> None:
    for around in ("{}", "{}\n", " {}\r\n"):
        put(root, tag_keys.tag_link(NAME), around.format(A).encode())
        assert (await over(Files(root)).get(NAME)).digest == A


@pytest.mark.parametrize(
    "content", [b"", b"sha256:short", b"\xff" * 71, str(A).encode() + b" " * LINK_BYTES_MAX]
)
async def test_what_is_no_link_is_the_stores_fault(root: Path, content: bytes) -> None:
    put(root, tag_keys.tag_link(NAME), content)
    with pytest.raises(UpstreamFailed, match="store"):
        await over(Files(root)).get(NAME)


async def test_a_link_that_did_not_change_is_not_read_again(root: Path) -> None:
    watched = Failing(Files(root))
    tags = over(watched)
    await tags.put(NAME, A)
    for _ in range(3):
        assert (await tags.get(NAME)).digest == A
    assert watched.asked.count("get") == 1
    await over(Files(root)).put(NAME, B)
    assert (await tags.get(NAME)).digest == B
    assert watched.asked.count("get") == 2


async def test_a_deleted_tag_leaves_nothing_behind_and_no_other_goes(root: Path) -> None:
    objects = Files(root)
    tags = over(objects)
    for digest in (A, B):
        await tags.put(NAME, digest)
    other = TagName("team/app", "v1.0")
    await tags.put(other, A)
    await tags.delete(NAME)
    left = await objects.list("", "", 100)
    assert left == [tag_keys.tag_link(other), tag_keys.tag_index_link(other, A)]


async def test_a_repository_holds_what_was_recorded_until_it_is_forgotten(root: Path) -> None:
    tags = over(Files(root))
    await tags.record("team/app", [A, B], [Digest.of(b"layer")])
    assert [await tags.holds("team/app", one) for one in (A, B)] == [True, True]
    assert not await tags.holds("team/app", Digest.of(b"layer"))
    assert not await tags.holds("team", A)
    await tags.forget("team/app", A)
    assert [await tags.holds("team/app", one) for one in (A, B)] == [False, True]


async def test_every_call_to_a_store_that_fails_blames_it(root: Path) -> None:
    failing = Failing(Files(root), fault=lambda: Unavailable("busy", rests_s=7.0))
    tags = over(failing)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: tags.get(NAME),
        lambda: tags.put(NAME, A),
        lambda: tags.put_if(NAME, A, None),
        lambda: tags.delete(NAME),
        lambda: tags.list("team/app", "", 10),
        lambda: tags.record("team/app", [A], []),
        lambda: tags.forget("team/app", A),
        lambda: tags.holds("team/app", A),
    ]
    for call in calls:
        failing.before = 1
        with pytest.raises(UpstreamFailed, match="store: busy") as raised:
            await call()
        assert raised.value.details["rests_s"] == 7.0


async def test_what_a_store_can_not_do_is_said(root: Path) -> None:
    class Simple(Files):
        features = frozenset({Feature.PUT, Feature.DELETE})

    tags = over(Simple(root))
    assert tags.writable
    await tags.put(NAME, A)
    with pytest.raises(Unsupported):
        await tags.put_if(NAME, B, None)
    with pytest.raises(Unsupported):
        await tags.list("team/app", "", 10)
    await tags.delete(NAME)
    with pytest.raises(NotFound):
        await tags.get(NAME)
    assert not ObjectTags(Simple(root), "store", read_only=True).writable


@given(st.sets(tag_names, max_size=25), tag_names | st.just(""), st.integers(1, 6),
       st.integers(1, 4))  # fmt: skip
def test_pages_are_in_order_of_bytes_however_the_store_pages_its_keys(
    named: set[str], after: str, count: int, keys_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as root:
        patch.setattr(object_tags, "PAGE_MAX", keys_max)
        for name in (TagName("app", tag) for tag in named):
            put(Path(root), tag_keys.tag_link(name), str(A).encode())
            put(Path(root), f"{tag_keys.tag_folder(name)}another/file", b"")
            for past in (A, B):
                put(Path(root), tag_keys.tag_index_link(name, past), str(past).encode())
        found = asyncio.run(over(Files(Path(root))).list("app", after, count))
        assert found == sorted(tag for tag in named if tag > after)[:count]


@given(repositories, tag_names, repositories, tag_names, digests, digests)
def test_keys_of_different_things_differ_and_tags_are_found_in_them(
    repository: str, tag: str, other: str, another: str, digest: Digest, second: Digest
) -> None:
    keys: dict[object, str] = {}
    tags: dict[str, str] = {}
    for name, about in ((TagName(repository, tag), digest), (TagName(other, another), second)):
        place = name.repository
        keys["tag", name] = tag_keys.tag_link(name)
        keys["index", name, about] = tag_keys.tag_index_link(name, about)
        keys["revision", place, about] = tag_keys.revision_link(place, about)
        keys["layer", place, about] = tag_keys.layer_link(place, about)
        if place == repository:
            tags[keys["tag", name]] = name.tag
    assert len(set(keys.values())) == len(keys)
    for key in keys.values():
        assert check_key(key) == key
        assert tag_keys.listed_tag(repository, key) == tags.get(key)


@given(st.text(max_size=30))
def test_a_key_that_others_made_is_a_tag_or_none(text: str) -> None:
    listed = tag_keys.listed_tag("app", f"{tag_keys.tags_folder('app')}{text}/current/link")
    try:
        assert listed == check_tag(text)
    except InvalidName:
        assert listed is None
