import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octopull.kernel import bitfield
from octopull.kernel.errors import PeerFault
from octopull.kernel.peers import Peer
from octopull.swarm.announcer import ANSWER_S_MAX, Announcer
from octopull.swarm.chance import Chance
from octopull.swarm.limits import Announces, SwarmLimits
from octopull.swarm.picker import Picker
from octopull.swarm.pipeline import Pipeline
from octopull.swarm.roster import Roster

LIMITS = SwarmLimits(depth_max=3, silence_s=8, request_s=30)


class PipelineModel(RuleBasedStateMachine):
    """Deadlines, late pieces and the last sign of life are the whole specification."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pipeline = Pipeline(LIMITS, 0)
        self.asked: dict[int, float] = {}
        self.late: dict[int, float] = {}
        self.heard = 0.0

    @precondition(lambda self: len(self.asked) + len(self.late) < 3)
    @rule(piece=st.integers(0, 9))
    def ask(self, piece: int) -> None:
        if piece not in self.asked and piece not in self.late:
            if not self.asked and not self.late:
                self.heard = self.now
            self.pipeline.ask(piece, self.now)
            self.asked[piece] = self.now + 30

    @rule(piece=st.integers(0, 9))
    def answer(self, piece: int) -> None:
        if piece in self.asked or piece in self.late:
            self.pipeline.answered(piece, self.now)
            self.asked.pop(piece, None)
            self.late.pop(piece, None)
            self.heard = self.now
        else:
            with pytest.raises(PeerFault):
                self.pipeline.answered(piece, self.now)

    @rule()
    def hear(self) -> None:
        self.pipeline.heard(self.now)
        self.heard = self.now

    @rule(seconds=st.sampled_from([0.5, 4.0, 8.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        silent = self.heard + 8 <= self.now
        due = [piece for piece, until in self.asked.items() if silent or until <= self.now]
        strikes = self.pipeline.strikes
        assert self.pipeline.overdue(self.now) == due
        stuck = [piece for piece, until in self.late.items() if silent or until <= self.now]
        assert self.pipeline.strikes == strikes + bool(due or stuck)
        if due or stuck:
            self.heard = self.now
        for piece in due:
            del self.asked[piece]
        self.late.update(dict.fromkeys([*due, *stuck], self.now + 30))

    @invariant()
    def holds(self) -> None:
        self.pipeline.validate()
        assert self.pipeline.asked == list(self.asked)
        assert self.pipeline.late == set(self.late)
        assert self.pipeline.room == 3 - len(self.asked) - len(self.late)


TestPipeline = PipelineModel.TestCase


@given(st.lists(st.integers(0, 2**20 - 1), max_size=8), st.integers(0, 2**20 - 1), st.integers())
def test_the_rarest_piece_is_picked(holders: list[int], candidates: int, seed: int) -> None:
    picker = Picker(20, Chance(seed))
    for bits in holders:
        picker.gained(bits)
    picker.validate()
    piece = picker.rarest(candidates)
    counts = {
        p: sum(bitfield.has(bits, p) for bits in holders) for p in bitfield.pieces(candidates)
    }
    if piece is None:
        assert not counts
    else:
        assert counts[piece] == min(counts.values()) == picker.holders(piece)
    for bits in holders:
        picker.lost(bits)
    picker.validate()
    assert all(picker.holders(p) == 0 for p in range(20))


def test_equals_are_picked_by_chance_and_the_same_seed_picks_the_same() -> None:
    def picks(seed: int) -> list[int | None]:
        picker = Picker(64, Chance(seed))
        return [picker.rarest(bitfield.full(64)) for _ in range(50)]

    assert picks(1) == picks(1)
    assert len(set(picks(1))) > 25


def peer(number: int) -> Peer:
    return Peer(id=f"{number:040x}", host="10.0.0.1", port=1)


def test_a_peer_that_fails_is_dialled_again_after_a_pause_that_doubles() -> None:
    roster = Roster("me", LIMITS, Chance(1))
    roster.discovered((peer(1),))
    now, pauses = 0.0, list[float]()
    for _ in range(9):
        assert roster.dial(set(), 5, now) == [peer(1)]
        assert roster.dial(set(), 5, now) == []
        roster.failed(peer(1).id, now)
        due = roster.next_dial(set())
        assert due is not None
        pauses.append(due - now)
        assert roster.dial(set(), 5, due - 0.01) == []
        now = due
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_banned_peer_is_not_dialled_until_its_ban_ends() -> None:
    roster = Roster("me", LIMITS, Chance(1))
    roster.discovered((peer(1),))
    roster.ban(peer(1).id, 10.0)
    roster.ban(peer(1).id, 5.0)
    assert roster.banned(peer(1).id, 9.9)
    assert roster.dial(set(), 5, 9.9) == []
    assert roster.next_dial(set()) == 10.0
    assert roster.dial(set(), 5, 10.0) == [peer(1)]
    assert not roster.banned(peer(1).id, 10.0)


def test_a_roster_never_names_ourselves_and_stays_bounded() -> None:
    limits = SwarmLimits(known_max=10)
    roster = Roster(peer(0).id, limits, Chance(1))
    roster.discovered(tuple(peer(n) for n in range(50)))
    named = roster.dial(set(), 100, 0.0)
    assert len(named) == 10
    assert peer(0) not in named


def test_announces_keep_the_trackers_interval_and_back_off_when_it_is_silent() -> None:
    announcer = Announcer(SwarmLimits())
    assert not announcer.due(0.0)
    announcer.soon(0.0)
    assert announcer.due(0.0)
    assert not announcer.due(1.0)
    announcer.answered(3.0, 1.0)
    assert announcer.next_deadline == 4.0
    pauses = []
    for _ in range(6):
        announcer.failed(10.0)
        assert announcer.next_deadline is not None
        pauses.append(announcer.next_deadline - 10.0)
    assert pauses == [0.5, 1, 2, 4, 8, 8]


def test_a_swarm_short_of_peers_announces_before_the_interval_ever_less_often() -> None:
    announcer = Announcer(SwarmLimits())
    announcer.soon(0.0)
    assert announcer.due(0.0)
    pauses = []
    for _ in range(6):
        announcer.answered(3.0, 10.0)
        announcer.short(10.0)
        announcer.short(10.0)
        assert announcer.next_deadline is not None
        pauses.append(announcer.next_deadline - 10.0)
    assert pauses == [0.5, 1, 2, 3, 3, 3]


def test_an_announce_that_is_under_way_is_waited_for() -> None:
    announcer = Announcer(SwarmLimits())
    announcer.soon(0.0)
    assert announcer.due(0.0)
    announcer.short(0.0)
    assert announcer.next_deadline == ANSWER_S_MAX


def test_a_swarm_that_is_not_announced_never_announces() -> None:
    announcer = Announcer(SwarmLimits(announces=Announces.NO))
    announcer.soon(0.0)
    assert not announcer.due(100.0)
    assert announcer.next_deadline is None
