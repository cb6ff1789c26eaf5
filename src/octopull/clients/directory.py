"""The clusters that a service depends on, as its lists of hosts and DNS say, again and again."""

import asyncio
import random
import time
from collections.abc import Sequence

from octopull.config.membership import DnsSettings
from octopull.kernel.errors import Unavailable
from octopull.observability import logs, metrics
from octopull.placement.health import Hysteresis
from octopull.placement.listing import Listing
from octopull.placement.lookups import Lookup, lookups
from octopull.placement.members import Members
from octopull.placement.rendezvous import EVEN, Weights
from octopull.runtime.resolver import Resolver
from octopull.runtime.tasks import Tasks

log = logs.get("dns")
TTL_S_MIN = 5.0
"""An answer that counts for less is asked for no sooner, unless ``dns.every_s`` says so."""

RETRY_S = 1.0
"""While nobody is known, nothing works."""

JITTER = 0.1


class Directory:
    """Clusters by name; ``hysteresis`` is for opinions on their members."""

    def __init__(self, dns: DnsSettings, hysteresis: Hysteresis | None = None) -> None:
        self.clusters: dict[str, Members] = {}
        self._dns = dns
        self._hysteresis = hysteresis
        self._listings: dict[str, Listing] = {}
        self._failing: set[tuple[str, Lookup]] = set()
        self._resolver: Resolver | None = None

    def members(
        self, cluster: str, hosts: Sequence[str], weights: Weights = EVEN, *, me: str = "",
        settles: bool = False,
    ) -> Members:  # fmt: skip
        """Those at ``hosts``, which may be lookups; they are known once ``follow`` has begun.

        Where it ``settles``, who comes lacks what it should have, and who goes has what others
        should: the origins.
        """
        settle_s = self._dns.settle_s if settles else 0.0
        listing = Listing(hosts, weights, me, settle_s)
        if listing.fixed:
            members = Members(hosts, weights, self._hysteresis)
        else:
            members = Members([], hysteresis=self._hysteresis, fixed=False)
            self._listings[cluster] = listing
            members.become(listing.membership(time.monotonic(), members.health.down))
        self.clusters[cluster] = members
        return members

    async def follow(self, tasks: Tasks) -> None:
        """Look everything up once, and again in ``tasks`` as often as is due.

        Returns even if DNS does not answer: who is not known yet can't be asked yet.

        Raises:
            Misuse: dnspython is not installed, or there is no server to ask.

        """
        if not self._listings:
            return
        self._resolver = Resolver(self._dns.addresses, self._dns.timeout_s)
        asked = [
            (cluster, lookup)
            for cluster, listing in self._listings.items()
            for lookup in lookups(listing.hosts)
        ]
        pauses_s = await asyncio.gather(*(self._look(*one) for one in asked))
        for one, pause_s in zip(asked, pauses_s, strict=True):
            tasks.start(self._look_again(*one, pause_s), f"look up {one[1]}")

    async def _look_again(self, cluster: str, lookup: Lookup, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s * random.uniform(1 - JITTER, 1))
            pause_s = await self._look(cluster, lookup)

    async def _look(self, cluster: str, lookup: Lookup) -> float:
        """Seconds until it is to be looked up again."""
        assert self._resolver is not None
        listing, ttl_s, reason = self._listings[cluster], 0.0, ""
        try:
            found = await self._resolver.look_up(lookup)
        except Unavailable as fault:
            reason = str(fault)
        else:
            ttl_s, reason = found.ttl_s, "" if found.members else "DNS names nobody"
            listing.answered(lookup, found.members, time.monotonic())
        self._note(cluster, lookup, reason)
        self._update(cluster)
        pause_s = min(max(ttl_s, TTL_S_MIN), self._dns.every_s)
        return pause_s if listing.complete else min(pause_s, RETRY_S)

    def _note(self, cluster: str, lookup: Lookup, reason: str) -> None:
        """Count a failure, and log the first of several, and that they are over."""
        metrics.LOOKUPS.labels(cluster, "failed" if reason else "answered").inc()
        if reason and (cluster, lookup) not in self._failing:
            self._failing.add((cluster, lookup))
            log.warning("dns.failed", cluster=cluster, lookup=str(lookup), reason=reason)
        elif not reason and (cluster, lookup) in self._failing:
            self._failing.discard((cluster, lookup))
            log.warning("dns.answers", cluster=cluster, lookup=str(lookup))

    def _update(self, cluster: str) -> None:
        members, listing = self.clusters[cluster], self._listings[cluster]
        before = set(members.hosts)
        if members.become(listing.membership(time.monotonic(), members.health.down)):
            now = members.now
            log.warning(
                "members.changed", cluster=cluster, weights=dict(now.weights),
                joined=sorted(set(now.hosts) - before), left=sorted(before - set(now.hosts)),
            )  # fmt: skip
            if listing.me and now.weights.get(listing.me) == 0:
                log.warning("members.without_me", cluster=cluster, me=listing.me)
