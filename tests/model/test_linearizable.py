"""The checker of histories: it finds an order where there is one, and none where there is none."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from support.chaos.linearizable import Step, Value, unexplained

VALUES = st.sampled_from([None, "a", "b", "c"])
SPREADS = st.floats(0, 4, allow_nan=False)
FATES = st.sampled_from(["told", "told", "told", "untold", "never"])


@st.composite
def real(draw: st.DrawFn, count_max: int = 30) -> list[Step]:
    """What clients see of a register that takes one operation after another, at 0, 1, 2, ... s."""
    steps: list[Step] = []
    standing: Value = None
    for at_s in range(draw(st.integers(0, count_max))):
        writes, value, fate = draw(st.booleans()), draw(VALUES), draw(FATES)
        if writes and fate != "never":
            standing = value
        returned_s = at_s + draw(SPREADS)
        if writes and fate != "told":
            returned_s = math.inf
        steps.append(Step(writes=writes, value=value if writes else standing,
                          invoked_s=at_s - draw(SPREADS), returned_s=returned_s))  # fmt: skip
    return draw(st.permutations(steps))


@st.composite
def anything(draw: st.DrawFn) -> list[Step]:
    """A few operations that may have an order or not."""
    steps = []
    for _ in range(draw(st.integers(0, 6))):
        from_s, writes = draw(st.integers(0, 8)), draw(st.booleans())
        untold = writes and draw(st.booleans())
        returned_s = math.inf if untold else from_s + draw(st.integers(0, 4))
        steps.append(
            Step(writes=writes, value=draw(VALUES), invoked_s=from_s, returned_s=returned_s)
        )
    return steps


def has_an_order(steps: Sequence[Step]) -> bool:
    """Every order of every choice of the writes that may never have been."""
    told = [step for step in steps if step.returned_s < math.inf]
    untold = [step for step in steps if step.returned_s == math.inf]
    return any(
        explains(order)
        for count in range(len(untold) + 1)
        for some in itertools.combinations(untold, count)
        for order in itertools.permutations([*told, *some])
    )


def explains(order: Sequence[Step]) -> bool:
    standing: Value = None
    for at, step in enumerate(order):
        if any(later.returned_s < step.invoked_s for later in order[at + 1 :]):
            return False
        if step.writes:
            standing = step.value
        elif step.value != standing:
            return False
    return True


@given(real())
def test_what_a_register_that_takes_one_after_another_tells_is_explained(steps: list[Step]) -> None:
    assert unexplained(steps) is None


@given(anything())
def test_an_order_is_found_if_and_only_if_there_is_one(steps: list[Step]) -> None:
    assert (unexplained(steps) is None) == has_an_order(steps)


@given(real())
def test_a_read_behind_a_write_that_gives_what_was_before_is_refused(steps: list[Step]) -> None:
    def step(writes: bool, value: Value, at_s: float) -> Step:
        return Step(writes=writes, value=value, invoked_s=at_s, returned_s=at_s + 1)

    moved = [*steps, step(True, "old", 100), step(True, "new", 102)]
    assert unexplained([*moved, step(False, "new", 104)]) is None
    assert unexplained([*moved, step(False, "old", 104)]) is not None


@given(real(), st.integers(0))
def test_a_read_of_what_nobody_wrote_is_refused(steps: list[Step], at: int) -> None:
    reads = [number for number, step in enumerate(steps) if not step.writes]
    if reads:
        number = reads[at % len(reads)]
        steps[number] = replace(steps[number], value="what nobody wrote")
        assert unexplained(steps) is not None


def test_a_history_of_many_clients_is_searched_to_its_end() -> None:
    steps = [
        Step(writes=at % 3 == 0, value=str(at - at % 3), invoked_s=at - at % 8, returned_s=at + 9.0)
        for at in range(900)
    ]
    assert unexplained(steps) is None
    late = Step(writes=False, value="3", invoked_s=950.0, returned_s=951.0)
    assert unexplained([*steps, late]) is not None


def test_what_has_no_order_is_told_with_what_went_before() -> None:
    def step(writes: bool, value: Value, at_s: float, note: str) -> Step:
        return Step(writes=writes, value=value, invoked_s=at_s, returned_s=at_s + 0.5, note=note)

    history = [
        step(True, "old", 1, "alice"),
        step(True, "new", 2, "bob"),
        step(False, "old", 3, "eve"),
    ]
    told = str(unexplained(history))
    assert told.splitlines()[1:] == [
        "  1.000..1.500 s write old alice",
        "  2.000..2.500 s write new bob",
        "then it is new, and nothing follows, though by then one of these must:",
        "  3.000..3.500 s read old eve",
    ]
