"""The rarest piece, by chance or in a seed's own order."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel import bitfield
from octopull.swarm.chance import Chance
from octopull.swarm.picker import Picker

PIECES = 40
sets = st.integers(0, bitfield.full(PIECES))


def among(holdings: list[int]) -> Picker:
    """A picker that knows of peers that hold these."""
    picker = Picker(PIECES, Chance(1))
    for pieces in holdings:
        picker.gained(pieces)
    return picker


def rarity(holdings: list[int], piece: int) -> int:
    return sum(holding >> piece & 1 for holding in holdings)


@given(st.lists(sets, max_size=5), sets)
def test_a_rarest_piece_is_picked(holdings: list[int], candidates: int) -> None:
    able = [piece for piece in range(PIECES) if candidates >> piece & 1]
    piece = among(holdings).rarest(candidates)
    if not able:
        assert piece is None
    else:
        assert piece in able
        assert rarity(holdings, piece) == min(rarity(holdings, one) for one in able)


@given(st.lists(sets, max_size=5), sets, st.data())
def test_in_a_stretch_it_is_the_first_counted_round_from_the_start(
    holdings: list[int], candidates: int, data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, 2 * PIECES))
    start = data.draw(st.integers(0, length - 1))
    able = [piece for piece in range(PIECES) if candidates >> piece & 1]
    piece = among(holdings).rarest_in_stretch(candidates, length, start)
    if not able:
        assert piece is None
        return
    least = min(rarity(holdings, one) for one in able)
    rarest = [one for one in able if rarity(holdings, one) == least]
    stretch = [one for one in rarest if one // length == rarest[0] // length]
    expected = min(stretch, key=lambda one: (one - start) % length)
    assert piece == expected
