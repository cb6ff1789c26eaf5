from collections import Counter
from itertools import combinations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.peers import Peer, PeerKind
from octopull.placement.handout import handout
from octopull.placement.health import Health
from octopull.placement.peer_table import PeerTable
from octopull.placement.rendezvous import owners

NODES = [f"origin-{n}:80" for n in range(6)]


def peer(number: int, kind: PeerKind = PeerKind.AGENT) -> Peer:
    return Peer(id=f"{number:040x}", host="10.0.0.1", port=1 + number, kind=kind)


@given(st.binary(), st.sampled_from(NODES), st.integers(1, 6))
def test_removing_a_node_moves_only_what_it_owned(content: bytes, gone: str, count: int) -> None:
    digest = Digest.of(content)
    before = owners(digest, NODES, len(NODES))
    after = owners(digest, [node for node in NODES if node != gone], len(NODES))
    assert after == [node for node in before if node != gone]
    assert owners(digest, NODES[::-1], count) == before[:count]


def test_digests_spread_evenly_over_the_nodes() -> None:
    firsts = [owners(Digest.of(bytes([a, b])), NODES, 1)[0] for a in range(60) for b in range(50)]
    for node in NODES:
        assert 400 < firsts.count(node) < 600


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40), st.randoms())
def test_a_handout_is_bounded_and_never_names_the_asker(
    complete: int, incomplete: int, count: int, chance: Random
) -> None:
    table = PeerTable(ttl_s=10)
    for number in range(complete + incomplete):
        table.announce("swarm", peer(number), 0.0, complete=number < complete)
    named = handout(peer(0).id, table.swarm("swarm"), count, 1.0, chance.randrange)
    ids = [member.peer.id for member in named]
    assert peer(0).id not in ids
    assert len(set(ids)) == len(ids)
    others = max(complete + incomplete - 1, 0)
    assert len(named) == min(count, others)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3))), st.randoms())
def test_a_swarm_names_those_who_spoke_lately_by_their_last_word(
    words: list[tuple[int, bool, int]], chance: Random
) -> None:
    table, now = PeerTable(ttl_s=4), 0.0
    expected: dict[str, tuple[bool, float]] = {}
    for number, complete, wait in words:
        now += wait
        table.announce("swarm", peer(number), now, complete=complete)
        expected[peer(number).id] = (complete, now + 4)
        if number == 5:
            table.expire(now)
        alive = {key: full for key, (full, until) in expected.items() if until > now}
        swarm = table.swarm("swarm")
        seeders = swarm.seeders(10, now, chance.randrange)
        leechers = swarm.leechers(10, now, chance.randrange)
        assert {one.peer.id for one in seeders} == {key for key, full in alive.items() if full}
        assert {one.peer.id for one in leechers} == {k for k, full in alive.items() if not full}
    table.expire(now + 5)
    assert len(table) == 0


def test_any_two_members_are_named_together_about_as_often_as_any_others() -> None:
    table, chance = PeerTable(ttl_s=10), Random(3)
    for number in range(12):
        table.announce("swarm", peer(number), 0.0, complete=False)
    together: Counter[tuple[str, str]] = Counter()
    for _ in range(6000):
        named = table.swarm("swarm").leechers(4, 1.0, chance.randrange)
        together.update(combinations(sorted(one.peer.id for one in named), 2))
    assert len(together) == 66
    mean = sum(together.values()) / 66
    assert 0.4 * mean < min(together.values()) <= max(together.values()) < 2.5 * mean


def test_handouts_of_ten_connect_two_hundred_hosts() -> None:
    table = PeerTable(ttl_s=10)
    for number in range(200):
        table.announce("swarm", peer(number), 0.0, complete=False)
    swarm, chance = table.swarm("swarm"), Random(7)
    reached, frontier = {peer(0)}, [peer(0)]
    while frontier:
        for one in handout(frontier.pop().id, swarm, 10, 1.0, chance.randrange):
            if one.peer not in reached:
                reached.add(one.peer)
                frontier.append(one.peer)
    assert len(reached) == 200


def test_a_silent_peer_is_forgotten_and_its_swarm_with_it() -> None:
    table = PeerTable(ttl_s=10)
    table.announce("swarm", peer(1), 0.0, complete=False)
    assert table.swarm("swarm").leechers(5, 9.9, Random(0).randrange)
    assert not table.swarm("swarm").leechers(5, 10.0, Random(0).randrange)
    table.expire(10.0)
    assert len(table) == 0


def test_a_host_that_is_out_is_asked_last_and_never_left_out() -> None:
    health = Health(out_s=10)
    health.failed("a", 0.0)
    assert health.order(["a", "b"], 5.0) == ["b", "a"]
    assert health.order(["a"], 5.0) == ["a"]
    assert health.order(["a", "b"], 11.0) == ["a", "b"]
    health.failed("a", 11.0)
    health.passed("a")
    assert health.order(["a", "b"], 12.0) == ["a", "b"]
