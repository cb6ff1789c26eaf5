import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.errors import PeerFault
from octopull.kernel.peers import Peer, PeerKind
from octopull.placement import sharing
from octopull.placement.peer_table import Member, PeerTable
from octopull.placement.sharing import (
    BATCHES_MAX,
    ERRANDS_MAX,
    HEARD_MAX,
    HEARD_OF_SWARM_MAX,
    LOOK_S,
    WORDS_MAX,
    Batch,
    Sharing,
    Word,
)

TTL_S = 30.0
SWARM = "a" * 64

peers = st.builds(
    Peer,
    id=st.integers(0, 2**160 - 1).map("{:040x}".format),
    host=st.text(min_size=1, max_size=20).filter(str.isprintable),
    port=st.integers(1, 65535),
    kind=st.sampled_from(PeerKind),
    zone=st.text(max_size=9).filter(str.isprintable),
)


def peer(number: int) -> Peer:
    return Peer(id=f"{number:040x}", host="10.0.0.1", port=1 + number % 65_535)


def announced(
    shared: Sharing, number: int, now: float, *, swarm: str = SWARM, complete: bool = False
) -> Batch | None:
    shared.table.announce(swarm, peer(number), now, complete=complete)
    return shared.gather(swarm, peer(number).id, now, asks=not complete)


def taken(shared: Sharing) -> list[Batch]:
    return list(iter(shared.take, None))


@pytest.fixture
def shared() -> Sharing:
    return Sharing(PeerTable(TTL_S))


def test_what_is_due_at_the_same_time_goes_in_one_batch(shared: Sharing) -> None:
    batches = [announced(shared, number, 0.0) for number in range(3)]
    batches.append(announced(shared, 7, 0.0, swarm="b" * 64, complete=True))
    (batch,) = taken(shared)
    assert batches == [batch] * 4
    assert {key: set(one.tell) for key, one in batch.errands.items()} == {
        SWARM: {peer(number).id for number in range(3)},
        "b" * 64: {peer(7).id},
    }
    assert (batch.words, batch.looks) == (4, 1)
    assert [one.cursor for one in batch.errands.values()] == [0, None]


def test_a_word_is_told_again_once_a_third_of_its_time_is_over(shared: Sharing) -> None:
    told = []
    for now in range(60):
        announced(shared, 1, float(now), complete=True)
        told += [now for batch in taken(shared) if batch.words]
    assert told == [0, 10, 20, 30, 40, 50]


def test_a_word_that_is_another_is_told_at_once(shared: Sharing) -> None:
    for complete in (False, True):
        announced(shared, 1, 0.0, complete=complete)
        (batch,) = taken(shared)
        (member,) = batch.errands[SWARM].tell.values()
        assert member.complete is complete


def test_a_swarm_is_looked_up_only_so_often_and_for_those_alone_who_ask(shared: Sharing) -> None:
    announced(shared, 1, 0.0)
    taken(shared)
    announced(shared, 2, LOOK_S / 2)
    assert [batch.looks for batch in taken(shared)] == [0]
    announced(shared, 3, LOOK_S, complete=True)
    assert [batch.looks for batch in taken(shared)] == [0]
    announced(shared, 1, LOOK_S)
    assert [batch.looks for batch in taken(shared)] == [1]


def test_a_swarm_is_read_from_where_it_was_read_last(shared: Sharing) -> None:
    announced(shared, 1, 0.0)
    shared.hear(SWARM, 1234, [], 0.0)
    taken(shared)
    announced(shared, 1, LOOK_S)
    (batch,) = taken(shared)
    assert batch.errands[SWARM].cursor == 1234


def test_once_the_store_was_lost_everything_is_due_again(shared: Sharing) -> None:
    announced(shared, 1, 0.0)
    shared.forget(0.0)
    assert taken(shared) == []
    announced(shared, 1, 0.0)
    (batch,) = taken(shared)
    assert (batch.words, batch.looks) == (1, 1)


@pytest.mark.parametrize("swarms", [True, False], ids=["many swarms", "one swarm"])
def test_batches_are_bounded_and_so_are_those_that_wait(swarms: bool) -> None:
    shared = Sharing(PeerTable(TTL_S, members_max=1_000_000))
    most = BATCHES_MAX * (ERRANDS_MAX if swarms else WORDS_MAX)
    refused = 0
    for number in range(most + 10):
        swarm = f"{number:064x}" if swarms else SWARM
        refused += announced(shared, number, 0.0, swarm=swarm) is None
    batches = taken(shared)
    assert len(batches) == BATCHES_MAX
    assert refused == 10
    for batch in batches:
        assert len(batch.errands) <= ERRANDS_MAX
        assert batch.words <= WORDS_MAX
        assert batch.looks * batch.heard_max <= HEARD_MAX
        assert 30 <= batch.heard_max <= HEARD_OF_SWARM_MAX
    assert [batch.number for batch in batches] == sorted({batch.number for batch in batches})


def test_whom_the_table_has_no_room_for_nobody_is_told_of() -> None:
    shared = Sharing(PeerTable(TTL_S, members_max=1))
    assert announced(shared, 1, 0.0) is not None
    assert announced(shared, 2, 0.0) is None


def test_hearsay_counts_from_when_it_was_said(shared: Sharing) -> None:
    shared.table.announce(SWARM, peer(1), 0.0, complete=True)
    words = [
        Word(5_000_000, "t", False, peer(1)),
        Word(5_000_000, "t", True, peer(2)),
        Word(31_000_000, "t", True, peer(3)),
        Word(-9, "t", True, peer(4)),
    ]
    shared.hear(SWARM, 1, words, 4.0)
    members = shared.table.swarm(SWARM).members
    assert {one.peer: (one.complete, one.until) for one in members.values()} == {
        peer(1): (True, 30.0),  # It said so itself, and later.
        peer(2): (True, 29.0),
        peer(4): (True, 34.0),
    }
    assert members[peer(2).id].told == -math.inf


@given(peers, st.booleans(), st.integers(0, 10**8))
def test_a_word_is_heard_as_it_was_told(told: Peer, complete: bool, age_us: int) -> None:
    member = Member(told, complete, 0.0, msgspec.Raw(msgspec.json.encode(told)))
    word = sharing.told("tracker", member)
    assert word.startswith(sharing.head("tracker"))
    assert not word.startswith(sharing.head("track"))
    answer = b"[[%d,%b]" % (age_us, word[1:])
    assert sharing.heard(answer) == [Word(age_us, "tracker", complete, told)]


WORD = sharing.told("t", Member(peer(1), True, 0.0, msgspec.Raw(msgspec.json.encode(peer(1)))))
framed_noise = st.binary(max_size=60).map(lambda noise: b"[[%b,%b]" % (noise, WORD[1:]))


@given(st.one_of(st.binary(max_size=100), framed_noise, st.integers(0, len(WORD)).map(
    lambda at: b"[[1," + WORD[1:at] + WORD[at + 1 :] + b"]")))  # fmt: skip
def test_an_answer_of_hostile_bytes_is_a_peer_fault_or_words(noise: bytes) -> None:
    try:
        words = sharing.heard(noise)
    except PeerFault:
        return
    assert all(isinstance(word.peer, Peer) for word in words)
    for bad in (b"{}", b"[[1]]", b'[[1,"t",true,{"id":"","host":"a","port":1}]]', b"[" * 99_999):
        with pytest.raises(PeerFault):
            sharing.heard(bad)
