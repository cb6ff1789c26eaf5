from collections import Counter
from itertools import combinations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from octopull.kernel.digest import Digest
from octopull.kernel.peers import Peer
from octopull.placement.handout import (
    BRIDGES,
    FAR_PEERS,
    ORIGIN_DIALS,
    handout,
    names_origins,
)
from octopull.placement.health import Health
from octopull.placement.peer_table import PeerTable
from octopull.placement.rendezvous import line, owners

NODES = [f"origin-{n}:80" for n in range(6)]


def peer(number: int, zone: str = "") -> Peer:
    return Peer(id=f"{number:040x}", host="10.0.0.1", port=1 + number, zone=zone)


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


def test_a_node_owns_as_much_as_its_weight_says() -> None:
    weights = {NODES[0]: 2.0, NODES[1]: 0.5, NODES[2]: 0.0}
    firsts = Counter(owners(Digest.of(b"%d" % n), NODES, 1, weights)[0] for n in range(11_000))
    shares = [firsts[node] / 11_000 * 5.5 for node in NODES]
    expected = [2.0, 0.5, 0.0, 1.0, 1.0, 1.0]
    assert all(abs(a - b) < 0.15 for a, b in zip(shares, expected, strict=True))


@given(st.binary(), st.sampled_from(NODES), st.floats(0, 4), st.floats(0, 4))
def test_a_change_of_weight_moves_only_what_that_node_gains_or_loses(
    content: bytes, node: str, before: float, after: float
) -> None:
    digest = Digest.of(content)
    old, new = (owners(digest, NODES, 2, {node: weight}) for weight in (before, after))
    others = [[one for one in found if one != node] for found in (old, new)]
    assert others[0][:1] == others[1][:1]
    assert node not in new or after > 0
    if node in old and after >= before > 0:
        assert new.index(node) <= old.index(node)


def test_without_weights_the_order_is_that_of_the_hashes_and_it_is_never_empty() -> None:
    digest = Digest.of(b"x")
    assert owners(digest, NODES, 9, dict.fromkeys(NODES, 3.0)) == owners(digest, NODES, 9)
    assert owners(digest, NODES, 9, dict.fromkeys(NODES, 0.0)) == owners(digest, NODES, 9)
    assert line("x", NODES, {NODES[3]: 0.0})[-1] == NODES[3]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40), st.randoms())
def test_a_handout_is_bounded_and_never_names_the_asker(
    complete: int, incomplete: int, count: int, chance: Random
) -> None:
    table = PeerTable(ttl_s=10)
    for number in range(complete + incomplete):
        table.announce("swarm", peer(number), 0.0, complete=number < complete)
    named = handout(peer(0), table.swarm("swarm"), count, 1.0, chance.randrange)
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
        seeders = swarm.everyone.seeders.drawn(10, now, chance.randrange)
        leechers = swarm.everyone.leechers.drawn(10, now, chance.randrange)
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
        named = table.swarm("swarm").everyone.leechers.drawn(4, 1.0, chance.randrange)
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
        for one in handout(frontier.pop(), swarm, 10, 1.0, chance.randrange):
            if one.peer not in reached:
                reached.add(one.peer)
                frontier.append(one.peer)
    assert len(reached) == 200


def test_peers_of_several_zones_are_named_their_own_and_a_few_bridges_others() -> None:
    table, chance = PeerTable(ttl_s=10), Random(5)
    crowd = [peer(number, f"zone-{number % 4}") for number in range(400)]
    for one in crowd:
        table.announce("swarm", one, 0.0, complete=False)
    bridges = 0
    for asker in crowd:
        named = handout(asker, table.swarm("swarm"), 10, 1.0, chance.randrange)
        far = [one for one in named if one.peer.zone != asker.zone]
        assert len(named) == 10
        assert len(far) <= FAR_PEERS
        bridges += bool(far)
    assert 0 < bridges < 4 * 4 * BRIDGES


def test_a_zone_of_one_is_named_peers_of_other_zones() -> None:
    table = PeerTable(ttl_s=10)
    table.announce("swarm", peer(1, "here"), 0.0, complete=True)
    asker = peer(2, "there")
    table.announce("swarm", asker, 0.0, complete=False)
    named = handout(asker, table.swarm("swarm"), 10, 1.0, Random(1).randrange)
    assert [one.peer for one in named] == [peer(1, "here")]


def test_everyone_of_a_small_swarm_is_named_its_origins_and_few_of_a_crowd() -> None:
    table, chance = PeerTable(ttl_s=10), Random(2)
    for number in range(30):
        table.announce("swarm", peer(number), 0.0, complete=False)
    swarm = table.swarm("swarm")
    assert all(names_origins(swarm, chance.randrange, alone=False) for _ in range(100))
    for number in range(3000):
        table.announce("swarm", peer(number), 0.0, complete=False)
    told = sum(names_origins(swarm, chance.randrange, alone=False) for _ in range(3000))
    assert ORIGIN_DIALS / 2 < told < 2 * ORIGIN_DIALS
    assert names_origins(swarm, chance.randrange, alone=True)


def test_a_silent_peer_is_forgotten_and_its_swarm_with_it() -> None:
    table = PeerTable(ttl_s=10)
    table.announce("swarm", peer(1), 0.0, complete=False)
    assert table.swarm("swarm").everyone.leechers.drawn(5, 9.9, Random(0).randrange)
    assert not table.swarm("swarm").everyone.leechers.drawn(5, 10.0, Random(0).randrange)
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
