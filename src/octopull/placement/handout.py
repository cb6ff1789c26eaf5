"""Whom a tracker names to a peer that asks."""

from octopull.kernel.peers import Peer
from octopull.placement.peer_table import Draw, Member, Party, Swarm

SEEDER_SHARE = 0.5
"""Part of a handout that may be seeders: enough to start quickly, and the rest leechers, since
it is them that a flash crowd lives on."""

ORIGIN_DIALS = 48
"""How many of a crowd are sent to each origin: three for each place it has for peers. Fifteen
thousand handshakes in the first second would take an origin's time from its first pieces."""

BRIDGES = 4
"""How many of a zone's peers are named peers of other zones: enough to bring a blob in at a
link's speed and to survive a few losses, few enough that they seldom bring the same piece."""

FAR_PEERS = 1
"""Peers of other zones in a bridge's handout."""


def names_origins(swarm: Swarm, draw: Draw, *, alone: bool) -> bool:
    """Whether to name a blob's origins, too: to everyone in a small swarm, to few in a crowd.

    ``alone`` is said of a peer that came back without having met anyone: it may lack nothing
    but an origin.
    """
    return alone or draw(max(len(swarm.members), 1)) < ORIGIN_DIALS


def handout(asker: Peer, swarm: Swarm, count: int, now: float, draw: Draw) -> list[Member]:
    """Up to ``count`` members of ``swarm`` other than ``asker``, by chance, of its zone first.

    A uniform choice makes the graph of all handouts a random one, which is connected almost
    surely from a degree of a few on. Where there are several zones, each is such a graph, and a
    few of its peers, by chance, are named some of other zones.
    """
    zone = swarm.zones.get(asker.zone, Party())
    if len(zone) == len(swarm.members):
        return _some(zone, asker, count, now, draw)
    near = _some(zone, asker, count, now, draw)
    bridge = draw(max(len(zone), 1)) < BRIDGES
    if not bridge and len(near) > FAR_PEERS:
        return near
    far = [one for one in _some(swarm.everyone, asker, count, now, draw)
           if one.peer.zone != asker.zone]  # fmt: skip
    room = min(FAR_PEERS, count)
    return near[: count - min(room, len(far))] + far[:room]


def _some(party: Party, asker: Peer, count: int, now: float, draw: Draw) -> list[Member]:
    # One more than asked for: the asker itself may be drawn.
    leechers = party.leechers.drawn(count + 1, now, draw)
    kept = max(int(count * SEEDER_SHARE), count - len(leechers)) + 1
    seeders = party.seeders.drawn(kept, now, draw)
    chosen = [one for one in seeders + leechers if one.peer.id != asker.id]
    return chosen[:count]
