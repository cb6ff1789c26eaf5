"""Whether to open connections, and to whom."""

from dataclasses import dataclass

from octopull.swarm.announcer import Announcer
from octopull.swarm.connections import Connections
from octopull.swarm.events import Dial
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.orders import Orders
from octopull.swarm.roster import Roster


@dataclass(slots=True)
class Dialing:
    """Keeps the number of own connections up; asks for more peers when nobody is left to dial."""

    limits: SwarmLimits
    roster: Roster
    connections: Connections
    announcer: Announcer
    orders: Orders

    @property
    def room(self) -> int:
        """Further peers to dial; not positive if there is no place."""
        under_way = self.roster.dialing
        own = self.connections.dialed + under_way
        places = self.limits.connections_max - len(self.connections) - under_way
        return min(self.limits.dials_max - own, places)

    def dial(self, now: float) -> None:
        """Dial whom we may."""
        room = self.room
        if room > 0:
            found = self.roster.dial(self.connections.peers(), room, now)
            for peer in found:
                self.orders.add(Dial(peer))
            if not found and not self.roster.dialing:
                self.announcer.short(now)
