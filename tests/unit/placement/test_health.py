"""Opinions on hosts: they change after enough checks in a row, and empty no list."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.config.membership import HealthSettings
from octopull.kernel.errors import Misuse
from octopull.placement.health import Health, Hysteresis, Opinion
from octopull.placement.members import Members

HOSTS = ["a", "b", "c"]
COUNTS = st.integers(1, 5)
LIMITS = st.builds(lambda fails, passes: Hysteresis(fails=fails, passes=passes), COUNTS, COUNTS)


@given(LIMITS, st.lists(st.booleans(), max_size=60))
def test_an_opinion_changes_exactly_when_as_many_checks_in_a_row_say_so(
    limits: Hysteresis, checks: list[bool]
) -> None:
    opinion, up, run = Opinion(limits), True, list[bool]()
    for passed in checks:
        run = [*run, passed] if passed is not up else []
        changes = len(run) == (limits.fails if up else limits.passes)
        if changes:
            up, run = not up, []
        assert opinion.checked(passed=passed) is changes
        assert opinion.up is up
        opinion.validate()


@given(LIMITS.filter(lambda one: one.fails > 1), COUNTS)
def test_a_host_that_flaps_does_not_flap_the_opinion(limits: Hysteresis, times: int) -> None:
    health = Health(hysteresis=limits)
    for _ in range(times):
        for _ in range(limits.fails - 1):
            assert not health.checked("a", passed=False)
        assert not health.checked("a", passed=True)
    assert not health.down("a")


SAID = st.tuples(st.sampled_from(HOSTS), st.sampled_from(["failed", "passed", "up", "down"]))


@given(st.lists(SAID, max_size=60), st.permutations(HOSTS), st.floats(0, 30))
def test_the_order_leaves_nobody_out_and_puts_those_in_doubt_behind_the_others(
    said: list[tuple[str, str]], hosts: list[str], now: float
) -> None:
    health, out = Health(out_s=10), set[str]()
    for host, what in said:
        if what == "failed":
            health.failed(host, now - 5)
            out.add(host)
        elif what == "passed":
            health.passed(host)
            out.discard(host)
        elif health.checked(host, passed=what == "up") and what == "up":
            out.discard(host)
    doubted = [host for host in hosts if host in out or health.down(host)]
    assert health.order(hosts, now) == [one for one in hosts if one not in doubted] + doubted


def test_who_lied_is_asked_last_of_all_for_long_whatever_it_answers() -> None:
    health = Health(lied_s=600)
    health.lied("a", 0.0)
    health.passed("a")
    health.failed("b", 1.0)
    assert health.order(HOSTS, 2.0) == ["c", "b", "a"]
    assert health.order(HOSTS, 20.0) == ["b", "c", "a"]
    assert health.order(["a"], 20.0) == ["a"]
    assert health.order(HOSTS, 600.0) == HOSTS
    health.lied("a", 600.0)
    health.forget("a")
    assert health.order(HOSTS, 601.0) == HOSTS


def test_a_host_that_is_up_again_is_asked_again_whatever_calls_said() -> None:
    health = Health(hysteresis=Hysteresis(fails=1, passes=2))
    health.failed("a", 0.0)
    health.checked("a", passed=False)
    assert not health.checked("a", passed=True)
    health.passed("a")
    assert health.order(HOSTS, 1.0) == ["b", "c", "a"]
    health.failed("a", 0.5)
    assert health.checked("a", passed=True)
    assert health.order(HOSTS, 1.0) == HOSTS


def test_who_went_is_thought_of_as_anybody_if_it_comes_back() -> None:
    health = Health(hysteresis=Hysteresis(fails=1))
    health.checked("a", passed=False)
    health.failed("a", time.monotonic())
    health.forget("a")
    health.forget("nobody")
    assert health.order(HOSTS, time.monotonic()) == HOSTS


def test_all_that_is_asked_of_the_same_members_shares_one_opinion() -> None:
    members = Members(HOSTS)
    assert Members.of(members) is members
    assert Members.of(HOSTS).hosts == tuple(HOSTS)


@pytest.mark.parametrize(
    "wrong",
    [{"every_s": -1}, {"every_s": float("nan")}, {"timeout_s": 0}, {"fails": 0}, {"passes": 0}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Misuse):
        HealthSettings(**wrong)  # type: ignore[arg-type]
