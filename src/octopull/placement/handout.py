"""Whom a tracker names to a peer that asks."""

from collections.abc import Sequence
from hashlib import blake2b

from octopull.kernel.peers import Peer
from octopull.placement.peer_table import Member

SEEDER_SHARE = 0.5
"""Part of a handout that may be seeders: enough to start quickly, and the rest leechers, since
it is them that a flash crowd lives on."""


def handout(
    asker: Peer, members: Sequence[Member], origins: Sequence[Peer], count: int, salt: int
) -> list[Peer]:
    """Up to ``count`` of ``members`` by chance, and the blob's ``origins`` behind them.

    A uniform choice makes the graph of all handouts a random one, which is connected
    almost surely from a degree of a few on. Chance is a hash of ``salt`` and the ids: the
    same arguments give the same answer.
    """
    others = [one for one in members if one.peer.id != asker.id]
    others.sort(key=lambda one: _lot(salt, asker.id, one.peer.id))
    seeders = [one.peer for one in others if one.complete]
    leechers = [one.peer for one in others if not one.complete]
    kept = max(int(count * SEEDER_SHARE), count - len(leechers))
    chosen = seeders[:kept]
    chosen += leechers[: count - len(chosen)]
    return chosen + [origin for origin in origins if origin.id != asker.id]


def _lot(salt: int, asker: str, other: str) -> bytes:
    return blake2b(f"{salt} {asker} {other}".encode(), digest_size=8).digest()
