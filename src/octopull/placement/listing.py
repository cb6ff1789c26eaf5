"""A list of hosts, some of them by lookups, whose last good answers count."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from octopull.placement.lookups import Lookup, lookups, parse
from octopull.placement.members import Membership
from octopull.placement.rendezvous import EVEN, Weights


@dataclass(slots=True)
class Listing:
    """Who is a member, by ``hosts`` and what DNS answered to the lookups among them.

    ``weights`` are told of some, whatever DNS says. Until each lookup was answered once, nobody is
    a member but ``me``: owners computed from a part of the ring would be others. ``me`` is always
    one, with weight 0 if it is not listed. One that vanishes from an answer stays for
    ``settle_s`` seconds with weight 0, so that others can fetch what it alone has; or until it is
    down. One that comes counts as joined for as long.

    An answer with nobody in it is none: the one before counts on.
    """

    hosts: Sequence[str]
    weights: Weights = field(default_factory=lambda: EVEN)
    me: str = ""
    settle_s: float = 0.0
    _answers: dict[Lookup, Mapping[str, float]] = field(
        default_factory=dict[Lookup, Mapping[str, float]]
    )
    _leaving: dict[str, float] = field(default_factory=dict[str, float])
    _joined: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def fixed(self) -> bool:
        """Whether nothing is looked up."""
        return not lookups(self.hosts)

    @property
    def complete(self) -> bool:
        """Whether each lookup was answered."""
        return all(one in self._answers for one in lookups(self.hosts))

    def answered(self, lookup: Lookup, found: Mapping[str, float], now: float) -> None:
        """DNS answered at ``now`` (seconds, monotonic): the members it names, and their weights."""
        if not found:
            return
        was_complete, before = self.complete, self._listed().keys()
        self._answers[lookup] = dict(found)
        listed = self._listed().keys()
        if was_complete:
            settled = now + self.settle_s
            self._joined |= dict.fromkeys(listed - before - self._leaving.keys(), settled)
            self._leaving |= dict.fromkeys(before - listed, settled)
        self._leaving = {one: until for one, until in self._leaving.items() if one not in listed}

    def membership(self, now: float, down: Callable[[str], bool]) -> Membership:
        """Who is a member at ``now``; ``down`` says who does not answer."""
        self._leaving = {
            one: until for one, until in self._leaving.items() if until > now and not down(one)
        }
        self._joined = {one: until for one, until in self._joined.items() if until > now}
        found = dict[str, float]()
        if self.complete:
            found = {one: self.weights.get(one, weight) for one, weight in self._listed().items()}
            found |= dict.fromkeys(self._leaving, 0.0)
        if self.me:
            found.setdefault(self.me, 0.0)
        hosts = sorted(found, key=lambda host: not found[host])
        weights = {one: found[one] for one in hosts if found[one] != 1}
        joined, left = frozenset(self._joined), frozenset(self._leaving)
        return Membership(tuple(hosts), weights, joined.intersection(hosts), left)

    def _listed(self) -> dict[str, float]:
        """By the list and the answers; those of the list first, in its order."""
        fixed = {one: 1.0 for one in map(parse, self.hosts) if isinstance(one, str)}
        found: dict[str, float] = {}
        for answer in self._answers.values():
            for host, weight in answer.items():
                found[host] = max(weight, found.get(host, 0.0))
        return fixed | {host: found[host] for host in sorted(found) if host not in fixed}
