"""Whom a tracker names to a peer that asks."""

from octopull.placement.peer_table import Draw, Member, Swarm

SEEDER_SHARE = 0.5
"""Part of a handout that may be seeders: enough to start quickly, and the rest leechers, since
it is them that a flash crowd lives on."""


def handout(asker: str, swarm: Swarm, count: int, now: float, draw: Draw) -> list[Member]:
    """Up to ``count`` members of ``swarm`` other than the peer ``asker``, by chance.

    A uniform choice makes the graph of all handouts a random one, which is connected
    almost surely from a degree of a few on.
    """
    # One more than asked for: the asker itself may be drawn.
    leechers = swarm.leechers(count + 1, now, draw)
    kept = max(int(count * SEEDER_SHARE), count - len(leechers)) + 1
    seeders = swarm.seeders(kept, now, draw)
    chosen = [one for one in seeders + leechers if one.peer.id != asker]
    return chosen[:count]
