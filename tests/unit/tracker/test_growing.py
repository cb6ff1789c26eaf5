"""Hashes in the parts in which they came: whoever follows, from wherever, hears all of them."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.blob.layout import Layout
from octopull.blob.metainfo import Growing
from octopull.blob.outline import Outline
from octopull.blob.start import Sealed
from octopull.kernel.digest import Digest
from octopull.services.tracker.growing import PARTS_MAX, Growth, Part, _growing

COUNT = 400
OUTLINE = Outline(Digest.of(b"a blob"), Layout(COUNT * 262_144, 262_144))
HASHES = tuple(piece.to_bytes(32, "big") for piece in range(COUNT))


def told(first: int, known: int) -> Part:
    """What an origin says that knows so many hashes."""
    return Sealed(Growing(OUTLINE, first, HASHES[first:known]), b"seal")


def learnt(known: int, parts: list[Part]) -> int:
    """How many hashes one knows who knew so many and hears ``parts``; all must be right."""
    hashes = list(HASHES[:known])
    for part in map(_growing, parts):
        assert part.first <= len(hashes)
        hashes += part.piece_hashes[len(hashes) - part.first :] if part.known > len(hashes) else ()
    assert hashes == list(HASHES[: len(hashes)])
    return len(hashes)


@given(st.lists(st.integers(0, 9), max_size=60), st.data())
def test_whoever_follows_hears_of_every_hash_in_few_parts(
    steps: list[int], data: st.DataObject
) -> None:
    growth, known = Growth(told(0, 1)), 1
    for step in steps:
        known += step
        grown = growth.and_then(told(growth.known, known))
        assert grown is not None
        # A base may tell of more: the fetch went on between two questions.
        more = data.draw(st.integers(0, 3), label="more")
        growth = grown.on(told(0, known + more)) if grown.is_scattered else grown
        growth.validate()
        first = data.draw(st.integers(0, growth.known), label="first")
        parts = growth.behind(first)
        assert learnt(first, parts) >= growth.known
        assert len(parts) <= 2 * PARTS_MAX
        joined = growth.joined(first)
        assert (joined.first, joined.piece_hashes) == (first, HASHES[first : joined.known])
        assert joined.known >= growth.known


def test_who_follows_closely_hears_what_is_new_alone() -> None:
    growth = Growth(told(0, 100))
    for known in range(101, 101 + 3 * PARTS_MAX):
        grown = growth.and_then(told(known - 1, known))
        assert grown is not None
        growth = grown.on(told(0, known)) if grown.is_scattered else grown
        assert growth.behind(known - 1) == [told(known - 1, known)]
        assert growth.behind(known) == []


def test_another_fetch_is_told_by_what_it_says() -> None:
    growth, other = Growth(told(0, 5)), Outline(OUTLINE.digest, Layout(COUNT * 262_144, 524_288))
    assert growth.and_then(told(6, 7)) is None
    assert growth.and_then(Growing(other, 5, HASHES[5:6])) is None
    assert growth.and_then(told(5, 5)) is growth
    assert growth.on(Growing(other, 0, HASHES[:9])) == Growth(Growing(other, 0, HASHES[:9]))


def test_it_is_whole_once_the_last_hash_is_there() -> None:
    assert not Growth(told(0, COUNT - 1)).whole
    assert Growth(told(0, COUNT)).whole
