"""The origins of one cluster, as one of them sees them."""

import time
from collections.abc import Sequence

from octopull.kernel.digest import Digest
from octopull.placement.members import Members
from octopull.placement.rendezvous import EVEN, Weights


class Ring:
    """The origins at ``hosts``, of which this one is ``name``; a blob has ``replicas`` owners."""

    def __init__(
        self, hosts: Sequence[str] | Members, name: str, replicas: int = 1, weights: Weights = EVEN
    ) -> None:
        self.members = Members.of(hosts, weights)
        self.health = self.members.health
        self.name = name
        self.replicas = replicas

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of them now."""
        return self.members.hosts

    @property
    def copies(self) -> int:
        """How many a push is to have; where members come and go, no fewer while few are known."""
        fixed = self.members.fixed
        return min(self.replicas, len(self.hosts)) if fixed else self.replicas

    @property
    def settled(self) -> bool:
        """Whether copies may go because of who owns them: where members come and go, not soon after
        one did, nor while fewer are known than there are to be copies.
        """
        now = self.members.now
        known = len(now.weighted) >= self.replicas
        return self.members.fixed or (known and not now.joined and not now.left)

    @property
    def others(self) -> list[str]:
        """All but this one, those that are up first."""
        return self.up_first([host for host in self.hosts if host != self.name])

    def up_first(self, hosts: Sequence[str]) -> list[str]:
        """``hosts`` in their order, those that are doubted last."""
        return self.health.order(hosts, time.monotonic())

    def line(self, digest: Digest) -> list[str]:
        """All hosts, in the order in which they are to have ``digest``."""
        return self.members.now.line(digest.hex)

    def owners(self, digest: Digest) -> list[str]:
        """The hosts that should hold ``digest``, best first."""
        return self.members.now.owners(digest, self.replicas)

    def before(self, digest: Digest) -> list[str]:
        """The hosts that should fetch ``digest`` rather than this one."""
        hosts = self.line(digest)
        return hosts[: hosts.index(self.name)] if self.name in hosts else []
