"""When a store that fails is left alone."""

import time

import pytest

from octopull.backends.circuit import FAILURES_MAX, REST_S, REST_S_MAX, Circuit
from octopull.kernel.errors import Unavailable

DOWN = Unavailable("down")


def failed(times: int) -> Circuit:
    circuit = Circuit()
    for _ in range(times):
        circuit.failed(DOWN)
    return circuit


def test_a_few_failures_are_no_reason() -> None:
    circuit = failed(FAILURES_MAX - 1)
    circuit.check()
    circuit.worked()
    circuit.failed(DOWN)
    circuit.check()


def test_calls_fail_at_once_and_say_why_and_for_how_long() -> None:
    with pytest.raises(Unavailable, match="down") as refused:
        failed(FAILURES_MAX).check()
    rests_s = refused.value.details["rests_s"]
    assert isinstance(rests_s, float)
    assert 0 < rests_s <= REST_S * 1.25


def test_after_a_rest_one_call_is_let_through() -> None:
    circuit = failed(FAILURES_MAX)
    circuit.rests_until_s = 0.0
    circuit.check()
    with pytest.raises(Unavailable):
        circuit.check()
    circuit.worked()
    for _ in range(3):
        circuit.check()


def test_rests_grow_and_have_an_end() -> None:
    last_s = 0.0
    for more in (0, 2, 4):
        rest_s = failed(FAILURES_MAX + more).rests_until_s - time.monotonic()
        assert rest_s > 1.5 * last_s
        last_s = rest_s
    assert failed(10_000).rests_until_s - time.monotonic() <= REST_S_MAX * 1.25


def test_who_asks_to_be_left_alone_is_after_one_failure() -> None:
    circuit = Circuit()
    circuit.failed(Unavailable("slow down", rests_s=60.0))
    assert circuit.rests_until_s - time.monotonic() > 59
    with pytest.raises(Unavailable):
        circuit.check()
