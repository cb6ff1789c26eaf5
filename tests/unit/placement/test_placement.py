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


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40), st.integers())
def test_a_handout_is_bounded_and_never_names_the_asker(
    complete: int, incomplete: int, count: int, salt: int
) -> None:
    table = PeerTable(ttl_s=10)
    for number in range(complete + incomplete):
        table.announce("swarm", peer(number), 0.0, complete=number < complete)
    origin = peer(1000, PeerKind.ORIGIN)
    named = handout(peer(0), table.members("swarm", 1.0), [origin], count, salt)
    assert peer(0) not in named
    assert len(set(named)) == len(named)
    assert named[-1] == origin
    others = complete + incomplete - (1 if complete + incomplete else 0)
    assert len(named) - 1 == min(count, others)


def test_handouts_of_ten_connect_two_hundred_hosts() -> None:
    table = PeerTable(ttl_s=10)
    for number in range(200):
        table.announce("swarm", peer(number), 0.0, complete=False)
    members = table.members("swarm", 1.0)
    reached, frontier = {peer(0)}, [peer(0)]
    while frontier:
        for one in handout(frontier.pop(), members, [], 10, 7):
            if one not in reached:
                reached.add(one)
                frontier.append(one)
    assert len(reached) == 200


def test_a_silent_peer_is_forgotten_and_its_swarm_with_it() -> None:
    table = PeerTable(ttl_s=10)
    table.announce("swarm", peer(1), 0.0, complete=False)
    assert table.members("swarm", 9.9)
    assert not table.members("swarm", 10.0)
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
