"""Who is in a cluster, as it is known now, and what is thought of each.

A membership is replaced as a whole, so that whoever reads it, in whatever thread, reads one that
was true at some time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.placement.health import Health, Hysteresis
from octopull.placement.rendezvous import EVEN, Weights, line, owners, weighted


@dataclass(frozen=True, slots=True)
class Membership:
    """The hosts of a cluster, and the weights of some of them; those that ``joined`` or ``left`` lately."""

    hosts: tuple[str, ...]
    weights: Weights = field(default_factory=lambda: EVEN)
    joined: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()

    @property
    def weighted(self) -> list[str]:
        """Those that have a weight, and are not about to leave."""
        return list(weighted(self.hosts, self.weights))

    def holders(self, digest: Digest, count: int, down: Callable[[str], bool]) -> list[str]:
        """Owners of ``digest`` that are up; beside each that joined, the next that did not.

        If none is up, the next that are stand in; if nobody is, its owners.

        Raises:
            Unavailable: nobody is known yet.

        """
        owners, line = self.owners(digest, count), self.line(digest.hex)
        up = [host for host in line if not down(host)]
        found = [host for host in up if host in owners] or up[:count] or owners
        lacking = sum(host in self.joined for host in found)
        beside = [host for host in up if host not in found and host not in self.joined]
        return found + beside[:lacking]

    def line(self, key: str) -> list[str]:
        """All hosts in the order in which they are responsible for ``key``."""
        return line(key, self.hosts, self.weights)

    def owners(self, digest: Digest, count: int) -> list[str]:
        """The ``count`` hosts that should hold ``digest``, best first.

        Raises:
            Unavailable: nobody is known yet.

        """
        if not self.hosts:
            raise Unavailable("DNS has not yet said who the origins are")
        return owners(digest, self.hosts, count, self.weights)


class Members:
    """The hosts of one cluster; all that is asked of them shares one opinion on their health.

    ``fixed`` says that they are those of a list, and stay.
    """

    def __init__(
        self, hosts: Sequence[str], weights: Weights = EVEN,
        hysteresis: Hysteresis | None = None, *, fixed: bool = True,
    ) -> None:  # fmt: skip
        self.now = Membership(tuple(hosts), weights)
        self.health = Health(hysteresis=hysteresis or Hysteresis())
        self.fixed = fixed
        self._callbacks: list[Callable[[], None]] = []

    @classmethod
    def of(cls, hosts: "Sequence[str] | Members", weights: Weights = EVEN) -> "Members":
        """``hosts`` as they are, or of a list that stays."""
        return hosts if isinstance(hosts, Members) else cls(hosts, weights)

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of them now."""
        return self.now.hosts

    def on_change(self, callback: Callable[[], None]) -> None:
        """``callback`` is called whenever they become others."""
        self._callbacks.append(callback)

    def become(self, membership: Membership) -> bool:
        """They are those from now on; whether others are there, or others' weights."""
        before, self.now = self.now, membership
        for host in set(before.hosts) - set(membership.hosts):
            self.health.forget(host)
        if (before.hosts, before.weights) == (membership.hosts, membership.weights):
            return False
        for callback in self._callbacks:
            callback()
        return True
