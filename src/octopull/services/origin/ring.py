"""The origins of one cluster, as one of them sees them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from octopull.kernel.digest import Digest
from octopull.placement.rendezvous import EVEN, Weights, line, owners


@dataclass(frozen=True, slots=True)
class Ring:
    """The origins at ``hosts``, of which this one is ``name``; a blob has ``replicas`` owners."""

    hosts: Sequence[str]
    name: str
    replicas: int = 1
    weights: Weights = field(default_factory=lambda: EVEN)

    @property
    def others(self) -> list[str]:
        """All but this one."""
        return [host for host in self.hosts if host != self.name]

    def line(self, digest: Digest) -> list[str]:
        """All hosts, in the order in which they are to have ``digest``."""
        return line(digest.hex, self.hosts, self.weights)

    def owners(self, digest: Digest) -> list[str]:
        """The hosts that should hold ``digest``, best first."""
        return owners(digest, self.hosts, self.replicas, self.weights)

    def before(self, digest: Digest) -> list[str]:
        """The hosts that should fetch ``digest`` rather than this one."""
        hosts = self.line(digest)
        return hosts[: hosts.index(self.name)] if self.name in hosts else []
