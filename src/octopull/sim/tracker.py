"""The tracker of a simulated swarm: the table and the handout of the real one."""

import random
from collections import Counter

from octopull.kernel.peers import Peer
from octopull.placement.handout import handout, names_origins
from octopull.placement.peer_table import PeerTable
from octopull.sim.scenario import Scenario

TTL_S = 30.0
"""As the real tracker's: ten of its intervals."""


class SimTracker:
    """Who is in which swarm; counts what it is asked, by the second."""

    def __init__(self, scenario: Scenario, chance: random.Random) -> None:
        self.origins: list[Peer] = []
        self.requests: Counter[int] = Counter()
        self.reachable = True
        self._scenario = scenario
        self._chance = chance
        self._table = PeerTable(ttl_s=TTL_S)

    def answer(
        self, blob: int, me: Peer, wants: int, now: float, *, complete: bool
    ) -> tuple[Peer, ...]:
        """Note that ``me`` is in the swarm of ``blob``, and name peers to it if it lacks pieces."""
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
            peers += tuple(self.origins)
        return peers
