"""The log in memory agrees with a list that forgets nothing."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.consensus.log import OVERHEAD_BYTES, Log
from octopull.consensus.messages import Entry

ENTRIES = st.lists(st.builds(Entry, st.integers(1, 3), st.binary(max_size=5)), max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("replace"), st.integers(0, 20), ENTRIES),
        st.tuples(st.just("forget"), st.integers(0, 20), st.just([])),
    ),
    max_size=12,
)


@given(STEPS, st.integers(0, 40))
def test_it_holds_what_a_list_would(steps: list[tuple[str, int, list[Entry]]], most: int) -> None:
    log, model = Log(), list[Entry]()
    for what, at, entries in steps:
        place = min(max(at, log.base_index), log.last_index)
        if what == "replace":
            log.replace(place, entries)
            model[place:] = entries
        else:
            log.forget(place)
    base = log.base_index
    assert log.last_index == len(model)
    assert log.entries == model[base:]
    assert log.size == sum(len(one.payload) + OVERHEAD_BYTES for one in model[base:])
    terms = [0, *(one.term for one in model)]
    for index in range(len(model) + 2):
        known = base <= index <= len(model)
        assert log.term(index) == (terms[index] if known else None)
    batch = log.batch(base, most)
    assert list(batch) == model[base : base + len(batch)]
    assert bool(batch) == (base < len(model))


@given(ENTRIES, st.integers(0, 9), st.integers(1, 3))
def test_a_reset_log_keeps_only_what_follows_the_same_entry(
    entries: list[Entry], index: int, term: int
) -> None:
    log = Log(0, 0, list(entries))
    same = log.term(index) == term and index > 0
    log.reset(index, term)
    assert (log.base_index, log.base_term) == (index, term)
    assert log.entries == (entries[index:] if same else [])
