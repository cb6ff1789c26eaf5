"""Which nodes own a digest: rendezvous hashing, by weight.

Removing a node moves only the digests it owned, and every service computes the
same owners from the same list without talking (Thaler and Ravishankar 1998). A node of twice the
weight owns twice as much, and a change of its weight moves only what it gains or loses
(Schindelhauer and Schomaker 2005).
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import log
from types import MappingProxyType

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse

Weights = Mapping[str, float]
"""Of nodes; 1 for those that are not named. One of weight 0 owns nothing, and is asked last."""

EVEN: Weights = MappingProxyType({})


def owners(digest: Digest, nodes: Sequence[str], count: int, weights: Weights = EVEN) -> list[str]:
    """The ``count`` nodes responsible for ``digest``, best first.

    The order is total and depends on nothing but the arguments; ``count`` is
    clipped to the number of nodes that have a weight; if none has, all are as good.

    Raises:
        Misuse: ``nodes`` is empty.

    """
    if not nodes:
        raise Misuse("a ring needs at least one node")
    return line(digest.hex, weighted(nodes, weights), weights)[:count]


def weighted(nodes: Sequence[str], weights: Weights) -> Sequence[str]:
    """Those that have a weight, or all if none has."""
    return [node for node in nodes if weights.get(node, 1)] or nodes


def line(key: str, nodes: Sequence[str], weights: Weights = EVEN) -> list[str]:
    """All ``nodes`` in the order in which they are responsible for ``key``."""

    def rank(node: str) -> tuple[float, bytes, str]:
        hashed = blake2b(f"{key}\n{node}".encode(), digest_size=16).digest()
        share = ((int.from_bytes(hashed[:8]) >> 12) + 0.5) / 2**52
        return -weights.get(node, 1) / log(share), hashed, node

    return sorted(nodes, key=rank, reverse=True)
