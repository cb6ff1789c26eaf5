"""Moves of tags: of any two, one counts, whichever is heard of first."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.replication.moves import AHEAD_S_MAX, NEVER, Move, check_at, made_at

MOVES = st.builds(
    Move, st.sampled_from([None, *(Digest.of(bytes([one])) for one in range(3))]),
    st.sampled_from([1.0, 2.0, 2.000001, 1.8e9]),
)  # fmt: skip


@given(MOVES, MOVES, MOVES)
def test_of_different_moves_one_counts_and_order_does_not_matter(a: Move, b: Move, c: Move) -> None:
    assert (a.counts_after(b) or b.counts_after(a)) == (a != b)
    assert not (a.counts_after(b) and b.counts_after(a))
    if a.counts_after(b) and b.counts_after(c):
        assert a.counts_after(c)
    assert a.counts_after(NEVER)


@given(MOVES, st.floats(0, 2e9))
def test_what_a_client_does_counts_after_what_was_known_whatever_the_clock_says(
    known: Move, now_s: float
) -> None:
    at = made_at(now_s, known)
    assert at >= now_s
    assert Move(None, at).counts_after(known)


@pytest.mark.parametrize("at", [0.0, -1.0, math.inf, math.nan, 1000 + AHEAD_S_MAX + 1])
def test_a_time_that_no_clock_would_tell_is_refused(at: float) -> None:
    with pytest.raises(Misuse, match="ahead"):
        check_at(at, 1000.0)
    assert check_at(1000 + AHEAD_S_MAX, 1000.0) == 1000 + AHEAD_S_MAX
