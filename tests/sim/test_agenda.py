"""The law of the agenda: in order of time, and among equals in order of being planned."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.sim.agenda import BUCKET_S, Agenda

# Aimed at what could go wrong: equal times, one bucket, its borders, and far apart.
times = st.one_of(
    st.floats(0, 4 * BUCKET_S),
    st.integers(0, 5).map(lambda number: number * BUCKET_S),
    st.floats(0, 1e6),
)


@given(st.lists(times))
def test_all_happens_in_order_of_time_and_then_of_planning(planned: list[float]) -> None:
    agenda, seen = Agenda(), list[tuple[float, int]]()
    for number, when in enumerate(planned):
        agenda.at(when, lambda number: seen.append((agenda.now, number)), number)
    while agenda.step():
        pass
    assert seen == sorted((when, number) for number, when in enumerate(planned))
    assert agenda.count == len(planned)


@given(st.lists(st.tuples(times, st.lists(times, max_size=3)), max_size=20))
def test_what_is_planned_on_the_way_takes_its_place(
    planned: list[tuple[float, list[float]]],
) -> None:
    agenda, seen = Agenda(), list[float]()

    def happen(later: list[float]) -> None:
        seen.append(agenda.now)
        for pause in later:
            agenda.at(agenda.now + pause, happen, [])

    for when, later in planned:
        agenda.at(when, happen, later)
    while agenda.step():
        pass
    assert seen == sorted(seen)
    assert len(seen) == sum(1 + len(later) for _, later in planned)
