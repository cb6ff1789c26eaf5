"""The tracker of a simulated swarm: the table and the handout of the real one."""

import random
from collections import Counter

from octopull.kernel.peers import Peer
from octopull.placement.handout import handout, names_origins
from octopull.placement.peer_table import PeerTable
from octopull.sim.scenario import Scenario

TTL_S = 30.0
"""As the real tracker's: ten of its intervals."""

GATHER_S = 0.01
"""As the real agents': how long a first announce waits for others to share its request."""


class SimTracker:
    """Who is in which swarm; counts what it is asked, by the second."""

    def __init__(self, scenario: Scenario, chance: random.Random) -> None:
        self.origins: list[list[Peer]] = [[] for _ in scenario.layouts]
        self.requests: Counter[int] = Counter()
        self.reachable = True
        self._scenario = scenario
        self._chance = chance
        self._asked: dict[str, float] = {}
        self._table = PeerTable(ttl_s=TTL_S)

    def answer(
        self, blob: int, me: Peer, wants: int, now: float, *, complete: bool
    ) -> tuple[Peer, ...]:
        """Note that ``me`` is in the swarm of ``blob``, and name peers to it if it lacks pieces."""
        # Hosts announce all swarms that are due in one request.
        if now - self._asked.get(me.id, -GATHER_S) >= GATHER_S:
            self._asked[me.id] = now
            self.requests[int(now)] += 1
        info_hash, draw = str(blob), self._chance.randrange
        known = me.id in self._table.swarm(info_hash).members
        self._table.announce(info_hash, me, now, complete=complete)
        if complete:
            return ()
        swarm = self._table.swarm(info_hash)
        count = min(wants, self._scenario.handout_max)
        peers = tuple(one.peer for one in handout(me, swarm, count, now, draw))
        alone = known and wants >= self._scenario.handout_max
        if names_origins(swarm, draw, alone=alone):
            peers += tuple(self.origins[blob])
        return peers
