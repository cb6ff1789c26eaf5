import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octopull.swarm.uplink import COMMON, MEASURED_BYTES_MIN, TURN_SHARES, Key, Uplink

TURN_S = 0.25
SMALL = 1
"""Bytes of a body that tells nothing of the link."""

BODY = MEASURED_BYTES_MIN


def alike(key: Key) -> int:
    """As if all peers held equally much."""
    del key
    return 0


class UplinkModel(RuleBasedStateMachine):
    """What was ordered, and what is under way since when, is the whole specification."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.uplink = Uplink(2, alike, TURN_S)
        self.ordered: list[tuple[Key, int]] = []
        self.begun: dict[Key, float] = {}

    @rule(conn=st.integers(0, 4), piece=st.integers(0, 3), rank=st.integers(0, COMMON + 1))
    def order(self, conn: int, piece: int, rank: int) -> None:
        if ((1, conn), piece) not in self.ordered:
            self.uplink.order((1, conn), piece, SMALL, rank)
            self.ordered.append(((1, conn), piece))

    @rule()
    def begin(self) -> None:
        for key, piece in self.uplink.begin(self.now):
            assert key not in self.begun
            self.ordered.remove((key, piece))
            self.begun[key] = self.now
        holding = sum(self.now - since < TURN_S for since in self.begun.values())
        able = [body for body in self.ordered if body[0] not in self.begun]
        assert holding >= 2 or not able

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def left(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.begun)))
        self.uplink.left(key, self.now)
        del self.begun[key]

    @rule(conn=st.integers(0, 4), piece=st.integers(0, 3))
    def withdraw(self, conn: int, piece: int) -> None:
        body = ((1, conn), piece)
        assert self.uplink.withdraw(*body) == (body in self.ordered)
        self.ordered = [one for one in self.ordered if one != body]

    @rule(conn=st.integers(0, 4))
    def drop(self, conn: int) -> None:
        self.uplink.drop((1, conn), self.now)
        self.ordered = [one for one in self.ordered if one[0] != (1, conn)]
        self.begun.pop((1, conn), None)

    @rule(seconds=st.sampled_from([0.1, TURN_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def holds(self) -> None:
        self.uplink.validate()
        assert self.uplink.waiting == len(self.ordered)


TestUplink = UplinkModel.TestCase


def test_a_piece_that_nobody_else_has_leaves_before_one_that_many_have() -> None:
    uplink = Uplink(1, alike)
    uplink.order((1, 1), 7, SMALL, COMMON)
    uplink.order((1, 2), 8, SMALL, 0)
    assert list(uplink.begin(0.0)) == [((1, 2), 8)]


def test_of_two_new_pieces_each_leaves_once_before_either_leaves_twice() -> None:
    uplink = Uplink(1, alike)
    for conn in (1, 2):
        uplink.order((1, conn), 7, SMALL, 0)
    uplink.order((1, 3), 8, SMALL, 0)
    sent = []
    for _ in range(3):
        ((key, piece),) = uplink.begin(0.0)
        uplink.left(key, 0.0)
        sent.append(piece)
    assert sent == [7, 8, 7]


def test_of_those_who_wait_for_a_rare_piece_the_one_that_has_least_gets_it() -> None:
    held = {(1, 1): 9, (1, 2): 3, (1, 3): 5}
    uplink = Uplink(1, held.__getitem__)
    for key in held:
        uplink.order(key, 7, SMALL, 1)
    sent = []
    for _ in held:
        ((key, _piece),) = uplink.begin(0.0)
        uplink.left(key, 0.0)
        sent.append(key)
    assert sent == [(1, 2), (1, 3), (1, 1)]


def test_of_pieces_as_rare_the_one_leaves_for_which_the_neediest_waits() -> None:
    held = {(1, 1): 9, (1, 2): 3}
    uplink = Uplink(1, held.__getitem__)
    uplink.order((1, 1), 7, SMALL, 1)
    uplink.order((1, 2), 8, SMALL, 1)
    assert list(uplink.begin(0.0)) == [((1, 2), 8)]


def test_a_peer_that_has_least_and_is_being_served_keeps_nobody_waiting() -> None:
    held = {(1, 1): 0, (1, 2): 3}
    uplink = Uplink(2, held.__getitem__)
    uplink.order((1, 1), 7, SMALL, 1)
    uplink.order((1, 1), 8, SMALL, 1)
    uplink.order((1, 2), 8, SMALL, 1)
    assert list(uplink.begin(0.0)) == [((1, 1), 7), ((1, 2), 8)]


def test_those_who_ask_for_common_pieces_are_served_in_the_order_of_asking() -> None:
    held = {(1, 1): 9, (1, 2): 3}
    uplink = Uplink(1, held.__getitem__)
    uplink.order((1, 1), 7, SMALL, COMMON + 5)
    uplink.order((1, 2), 8, SMALL, COMMON)
    assert list(uplink.begin(0.0)) == [((1, 1), 7)]


def test_a_body_that_takes_too_long_gives_its_slot_to_the_next() -> None:
    uplink = Uplink(1, alike, TURN_S)
    uplink.order((1, 1), 7, SMALL, 0)
    uplink.order((1, 2), 8, SMALL, 0)
    assert len(list(uplink.begin(0.0))) == 1
    assert list(uplink.begin(TURN_S / 2)) == []
    assert uplink.next_turn(TURN_S / 2) == TURN_S
    assert list(uplink.begin(TURN_S)) == [((1, 2), 8)]


def sent(uplink: Uplink, now: float, *seconds: float) -> None:
    """Bodies begin together at ``now``, each over a connection of its own, and take so long."""
    for conn in range(len(seconds)):
        uplink.order((1, conn), 0, BODY, COMMON)
    assert len(list(uplink.begin(now))) == len(seconds)
    for conn, took_s in sorted(enumerate(seconds), key=lambda one: one[1]):
        uplink.left((1, conn), now + took_s)


def turn_s(uplink: Uplink, now: float) -> float:
    """How long a body that begins at ``now`` and never leaves keeps its slot from the next."""
    for conn in range(uplink.slots + 1):
        uplink.order((2, conn), 0, BODY, COMMON)
    assert len(list(uplink.begin(now))) == uplink.slots
    end = uplink.next_turn(now)
    assert end is not None
    for conn in range(uplink.slots + 1):
        uplink.drop((2, conn), now)
    return end - now


def test_a_turn_is_as_long_as_the_link_needs_for_a_body_in_every_slot() -> None:
    uplink = Uplink(2, alike, TURN_S)
    sent(uplink, 0.0, 0.1)
    assert turn_s(uplink, 1.0) == pytest.approx(TURN_SHARES * 2 * 0.1)


def test_bodies_that_shared_the_link_tell_the_same_as_one_alone() -> None:
    uplink = Uplink(4, alike, TURN_S)
    sent(uplink, 0.0, 0.4, 0.4, 0.4, 0.4)
    assert turn_s(uplink, 1.0) == pytest.approx(TURN_SHARES * 4 * 0.1)


def test_a_slow_receiver_does_not_make_turns_longer() -> None:
    uplink = Uplink(2, alike, TURN_S)
    sent(uplink, 0.0, 0.1)
    sent(uplink, 1.0, 30.0)
    assert turn_s(uplink, 32.0) < TURN_SHARES * 2 * 0.11


def test_a_link_that_became_slower_is_believed_in_the_end() -> None:
    uplink = Uplink(2, alike, TURN_S)
    sent(uplink, 0.0, 0.1)
    for number in range(100):
        sent(uplink, 10.0 + number, 0.2)
    assert turn_s(uplink, 200.0) == pytest.approx(TURN_SHARES * 2 * 0.2)


def test_a_body_that_may_be_in_the_kernel_whole_tells_nothing() -> None:
    uplink = Uplink(1, alike, TURN_S)
    uplink.order((1, 1), 7, BODY - 1, 0)
    assert len(list(uplink.begin(0.0))) == 1
    uplink.left((1, 1), 0.0001)
    assert turn_s(uplink, 1.0) == TURN_S
