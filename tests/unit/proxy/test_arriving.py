"""What is on its way in counts by quota, each session once, until it ends or is silent for too long."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.services.proxy.arriving import Arriving

IDLE_S = 10.0


def test_a_session_counts_for_others_and_not_for_itself() -> None:
    arriving = Arriving(IDLE_S)
    arriving.heard("one", ["team", "all"], 100, 0)
    arriving.heard("two", ["all"], 20, 0)
    assert arriving.beside("one", "all", 0) == 20
    assert arriving.beside("two", "all", 0) == 100
    assert arriving.beside("two", "team", 0) == 100
    assert arriving.beside("", "all", 0) == 120


def test_a_session_that_is_silent_for_too_long_counts_no_more() -> None:
    arriving = Arriving(IDLE_S)
    arriving.heard("one", ["all"], 100, 0)
    arriving.heard("two", ["all"], 20, 5)
    assert arriving.beside("", "all", 9.9) == 120
    assert arriving.beside("", "all", 10) == 20
    assert arriving.beside("", "all", 15) == 0


heard = st.tuples(
    st.sampled_from("abc"), st.sets(st.sampled_from(["x", "y"])), st.integers(0, 9),
    st.floats(0, 4),
)  # fmt: skip


@given(st.lists(st.one_of(heard, st.sampled_from("abc"))))
def test_in_any_order_what_is_beside_a_session_is_the_sum_of_the_others(
    steps: list[tuple[str, set[str], int, float] | str],
) -> None:
    arriving, model, now = Arriving(IDLE_S), dict[str, tuple[set[str], int, float]](), 0.0
    for step in steps:
        if isinstance(step, str):
            arriving.ended(step)
            model.pop(step, None)
        else:
            session, quotas, size, after_s = step
            now += after_s
            arriving.heard(session, quotas, size, now)
            model[session] = quotas, size, now
        arriving.validate()
        live = {one: told for one, told in model.items() if now - told[2] < IDLE_S}
        for quota in "xy":
            others = sum(told[1] for one, told in live.items() if quota in told[0] and one != "a")
            assert arriving.beside("a", quota, now) == others
