"""Keys of folders come in order of bytes, as if there were no folders."""

import asyncio
from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from octopull.backends import key_order
from octopull.backends.key_order import Page

PARTS = st.text(alphabet="ab0+-.:~", min_size=1, max_size=3).filter(
    lambda part: part[0] not in "+:~" and part not in {".", ".."}
)
KEYS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


def tree(keys: list[str]) -> set[str]:
    """Those of ``keys`` that can be in one tree: none is the folder of another."""
    kept: set[str] = set()
    for key in sorted(set(keys)):
        folders = {key[:at] for at, character in enumerate(key) if character == "/"}
        if not folders & kept:
            kept.add(key)
    return kept


class Folders:
    """Keys listed as a tree lists them, few names to a page."""

    def __init__(self, keys: set[str], page: int) -> None:
        self.keys = keys
        self.page = page
        self.asked = 0

    async def names(self, folder: str, after: str) -> Page:
        self.asked += 1
        below = (key[len(folder) :] for key in self.keys if key.startswith(folder))
        kinds = {one.partition("/")[0]: one.partition("/")[1] for one in below}
        bare = sorted(kinds)
        at = bisect_right(bare, after) if after else 0
        found = bare[at : at + self.page]
        more = at + self.page < len(bare)
        return Page([one + kinds[one] for one in found], found[-1] if more else "")


def listed(folders: Folders, prefix: str, after: str) -> list[str]:
    async def run() -> list[str]:
        return [key async for key in key_order.walk(folders.names, prefix, after)]

    return asyncio.run(run())


@given(st.lists(KEYS, max_size=30), st.one_of(st.just(""), KEYS), st.one_of(st.just(""), KEYS),
       st.integers(1, 4), st.booleans())  # fmt: skip
def test_keys_come_as_if_there_were_no_folders(
    keys: list[str], prefix: str, after: str, page: int, cut: bool
) -> None:
    there, prefix = tree(keys), prefix[:-1] if cut else prefix
    expected = [key for key in sorted(there) if key.startswith(prefix) and key > after]
    assert listed(Folders(there, page), prefix, after) == expected


@given(st.lists(KEYS, min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 3))
def test_pages_of_keys_join_without_a_gap(keys: list[str], page: int, count: int) -> None:
    folders, found = Folders(tree(keys), page), list[str]()
    while True:
        more = listed(folders, "", found[-1] if found else "")[:count]
        if not more:
            break
        found += more
    assert found == sorted(folders.keys)


def test_what_lies_before_is_not_asked_for() -> None:
    folders = Folders({f"{folder:04d}/x" for folder in range(1000)}, page=10)
    assert listed(folders, "0990", "")[0] == "0990/x"
    assert folders.asked < 10
    folders.asked = 0
    assert listed(folders, "", "0989/x")[0] == "0990/x"
    assert folders.asked < 20
