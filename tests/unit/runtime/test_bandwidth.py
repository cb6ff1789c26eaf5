"""Buckets on a clock that stands still until it is told to go."""

from hypothesis import given
from hypothesis import strategies as st

from octopull.runtime.bandwidth import BURST_S, PAUSE_S_MAX, Bucket, Flow, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def carry(bucket: Bucket, clock: Clock, until: float, late_s: float) -> int:
    """Move bytes as fast as ``bucket`` lets, waking ``late_s`` after each wait."""
    moved = 0
    while clock.now < until:
        wait_s = bucket.wait_s()
        if wait_s > 0:
            clock.now += wait_s + late_s
        else:
            count = bucket.quantum()
            assert count is not None
            bucket.spend(count)
            moved += count
    return moved


@given(st.integers(1_250_000, 125_000_000), st.floats(0, 0.02))
def test_a_rate_is_kept_within_five_percent_though_timers_come_late(
    rate: int, late_s: float
) -> None:
    clock = Clock()
    moved = carry(Bucket(Rate(rate), clock), clock, clock.now + 5, late_s)
    assert 0.95 * rate * 5 < moved < 1.05 * rate * 5


@given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 2)), max_size=30))
def test_no_more_than_the_rate_a_burst_and_the_last_bytes_pass(
    steps: list[tuple[int, float]],
) -> None:
    clock, rate = Clock(), 50_000
    bucket, began, moved, last = Bucket(Rate(rate), clock), clock.now, 0, 0
    for count, idle_s in steps:
        clock.now += idle_s
        if bucket.wait_s() == 0:
            bucket.spend(count)
            moved, last = moved + count, count
            assert moved <= rate * (clock.now - began + BURST_S) + last + 1


def test_a_rate_changed_on_the_way_holds_at_once_and_can_be_lifted() -> None:
    clock, rate = Clock(), Rate()
    bucket = Bucket(rate, clock)
    bucket.spend(10**9)
    assert bucket.wait_s() == 0
    assert bucket.quantum() is None
    rate.bytes_per_s = 1000
    bucket.spend(2000)
    assert 1.9 < bucket.wait_s() <= 2
    rate.bytes_per_s = 1_000_000
    assert bucket.wait_s() < 0.01
    rate.bytes_per_s = None
    assert bucket.wait_s() == 0


def test_a_flow_asks_again_soon_however_deep_its_debt() -> None:
    clock = Clock()
    flow = Flow(Bucket(Rate(10), clock))
    flow.spend(1_000_000)
    assert flow.wait_s() == PAUSE_S_MAX


def test_a_flow_keeps_to_the_strictest_of_its_buckets() -> None:
    clock, whole, own = Clock(), Rate(10_000_000), Rate()
    flow = Flow(Bucket(whole, clock), Bucket(own, clock))
    assert flow.limited
    assert flow.at_once(10**9) == 100_000
    own.bytes_per_s = 5_000_000
    assert flow.at_once(10**9) == 50_000
    flow.spend(1_000_000)
    assert 0.14 < flow.wait_s() <= 0.2
    whole.bytes_per_s = own.bytes_per_s = None
    assert not flow.limited
    assert flow.at_once(10**9) == 10**9
