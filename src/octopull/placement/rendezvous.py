"""Which nodes own a digest: rendezvous hashing.

Removing a node moves only the digests it owned, and every service computes the
same owners from the same list without talking (Thaler and Ravishankar 1998).
"""

from collections.abc import Sequence
from hashlib import blake2b

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse


def owners(digest: Digest, nodes: Sequence[str], count: int) -> list[str]:
    """The ``count`` nodes responsible for ``digest``, best first.

    The order is total and depends on nothing but the arguments; ``count`` is
    clipped to the number of nodes.

    Raises:
        Misuse: ``nodes`` is empty.

    """
    if not nodes:
        raise Misuse("a ring needs at least one node")
    return sorted(nodes, key=lambda node: (_score(digest, node), node), reverse=True)[:count]


def _score(digest: Digest, node: str) -> bytes:
    return blake2b(f"{digest.hex}\n{node}".encode(), digest_size=16).digest()
