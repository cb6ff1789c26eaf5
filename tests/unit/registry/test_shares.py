"""Nobody gets more than their share, whatever they ask and when."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from octopull.kernel.errors import TooMany
from octopull.registry import shares
from octopull.registry.shares import Allowance, Sessions

BURST, PER_S = 5, 2.0
MOST, IDLE_S = 3, 60.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60))
def test_a_client_gets_its_burst_and_its_rate_and_no_more(asked: list[tuple[str, float]]) -> None:
    allowance, now = Allowance(PER_S, BURST), 1000.0
    first, granted = dict[str, float](), Counter[str]()
    for client, pause_s in asked:
        now += pause_s
        first.setdefault(client, now)
        share = BURST + PER_S * (now - first[client])
        try:
            allowance.take(client, now)
            granted[client] += 1
        except TooMany as fault:
            again_s = float(str(fault.details["again_s"]))
            assert 0 < again_s <= 1 / PER_S
            allowance.take(client, now + again_s + 1e-6)
            granted[client] += 1
            now += again_s + 1e-6
        assert granted[client] <= share + 1 + 1e-3


def test_who_asks_seldom_enough_is_never_refused() -> None:
    allowance = Allowance(PER_S, BURST)
    for number in range(1000):
        allowance.take("a", number / PER_S)


def test_strangers_without_number_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "CLIENTS_MAX", 10)
    allowance, sessions = Allowance(PER_S, 1), Sessions(MOST, IDLE_S)
    for number in range(1000):
        allowance.take(f"client {number}", 0.0)
        sessions.heard(f"session {number}", f"client {number}", 0.0)
    assert len(allowance._left) == 10
    assert len(sessions._of) == 100
    sessions.validate()


class SessionsModel(RuleBasedStateMachine):
    """Against a dictionary of what was heard when."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions, self.now = Sessions(MOST, IDLE_S), 0.0
        self.model = dict[str, tuple[str, float]]()

    @rule(client=st.sampled_from("ab"), number=st.integers(0, 9))
    def begin(self, client: str, number: int) -> None:
        held = sum(1 for one, at in self.model.values() if one == client and self.fresh(at))
        try:
            self.sessions.check(client, self.now)
        except TooMany:
            assert held >= MOST
            return
        assert held < MOST
        self.sessions.heard(str(number), client, self.now)
        self.model[str(number)] = client, self.now

    def fresh(self, at: float) -> bool:
        return self.now - at < IDLE_S

    @rule(number=st.integers(0, 9))
    def end(self, number: int) -> None:
        self.sessions.ended(str(number))
        self.model.pop(str(number), None)

    @rule(seconds=st.sampled_from([1.0, 25.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def holds(self) -> None:
        self.sessions.validate()


TestSessions = SessionsModel.TestCase


def test_a_limit_of_nothing_is_none() -> None:
    sessions = Sessions(0, IDLE_S)
    for number in range(100):
        sessions.check("a", 0.0)
        sessions.heard(str(number), "a", 0.0)
