"""Who is in a cluster, as it is known now, and what is thought of each.

A membership is replaced as a whole, so that whoever reads it, in whatever thread, reads one that
was true at some time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from octopull.kernel.digest import Digest
from octopull.placement.health import Health, Hysteresis
from octopull.placement.rendezvous import EVEN, Weights, line, owners, weighted


@dataclass(frozen=True, slots=True)
class Membership:
    """The hosts of a cluster, in an order that means nothing, and the weights of some of them."""

    hosts: tuple[str, ...]
    weights: Weights = field(default_factory=lambda: EVEN)

    @property
    def weighted(self) -> list[str]:
        """Those that have a weight, and are not about to leave."""
        return list(weighted(self.hosts, self.weights))

    def line(self, key: str) -> list[str]:
        """All hosts in the order in which they are responsible for ``key``."""
        return line(key, self.hosts, self.weights)

    def owners(self, digest: Digest, count: int) -> list[str]:
        """The ``count`` hosts that should hold ``digest``, best first."""
        return owners(digest, self.hosts, count, self.weights)


class Members:
    """The hosts of one cluster; all that is asked of them shares one opinion on their health."""

    def __init__(
        self, hosts: Sequence[str], weights: Weights = EVEN, hysteresis: Hysteresis | None = None
    ) -> None:
        self.now = Membership(tuple(hosts), weights)
        self.health = Health(hysteresis=hysteresis or Hysteresis())

    @classmethod
    def of(cls, hosts: "Sequence[str] | Members", weights: Weights = EVEN) -> "Members":
        """``hosts`` as they are, or of a list that stays."""
        return hosts if isinstance(hosts, Members) else cls(hosts, weights)

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of them now."""
        return self.now.hosts
