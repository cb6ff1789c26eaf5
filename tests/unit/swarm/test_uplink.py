from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octopull.swarm.uplink import COMMON, Key, Uplink

TURN_S = 0.25


class UplinkModel(RuleBasedStateMachine):
    """What was ordered, and what is under way since when, is the whole specification."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.uplink = Uplink(2, TURN_S)
        self.ordered: list[tuple[Key, int]] = []
        self.begun: dict[Key, float] = {}

    @rule(conn=st.integers(0, 4), piece=st.integers(0, 3), rank=st.integers(0, 4))
    def order(self, conn: int, piece: int, rank: int) -> None:
        if ((1, conn), piece) not in self.ordered:
            self.uplink.order((1, conn), piece, rank)
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
        self.uplink.left(key)
        del self.begun[key]

    @rule(conn=st.integers(0, 4), piece=st.integers(0, 3))
    def withdraw(self, conn: int, piece: int) -> None:
        body = ((1, conn), piece)
        assert self.uplink.withdraw(*body) == (body in self.ordered)
        self.ordered = [one for one in self.ordered if one != body]

    @rule(conn=st.integers(0, 4))
    def drop(self, conn: int) -> None:
        self.uplink.drop((1, conn))
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
    uplink = Uplink(1)
    uplink.order((1, 1), 7, COMMON)
    uplink.order((1, 2), 8, 0)
    assert list(uplink.begin(0.0)) == [((1, 2), 8)]


def test_of_two_new_pieces_each_leaves_once_before_either_leaves_twice() -> None:
    uplink = Uplink(1)
    for conn in (1, 2):
        uplink.order((1, conn), 7, 0)
    uplink.order((1, 3), 8, 0)
    sent = []
    for _ in range(3):
        ((key, piece),) = uplink.begin(0.0)
        uplink.left(key)
        sent.append(piece)
    assert sent == [7, 8, 7]


def test_those_who_ask_for_common_pieces_are_served_in_the_order_of_asking() -> None:
    uplink = Uplink(1)
    uplink.order((1, 1), 7, COMMON + 5)
    uplink.order((1, 2), 8, COMMON)
    assert list(uplink.begin(0.0)) == [((1, 1), 7)]


def test_a_body_that_takes_too_long_gives_its_slot_to_the_next() -> None:
    uplink = Uplink(1, TURN_S)
    uplink.order((1, 1), 7, 0)
    uplink.order((1, 2), 8, 0)
    assert len(list(uplink.begin(0.0))) == 1
    assert list(uplink.begin(TURN_S / 2)) == []
    assert uplink.next_turn(TURN_S / 2) == TURN_S
    assert list(uplink.begin(TURN_S)) == [((1, 2), 8)]
