"""Which new connections to keep."""

from dataclasses import dataclass

from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Reason
from octopull.swarm.pieces import Pieces
from octopull.swarm.roster import Roster


@dataclass(slots=True)
class Admission:
    """Holds each connection whose handshake is done against what there is already."""

    me: str
    limits: SwarmLimits
    pieces: Pieces
    roster: Roster
    connections: Connections

    def refusal(self, fresh: Connection, now: float) -> tuple[Reason, str] | None:
        """Why not to keep ``fresh``, if there is a reason; its twin may have to go first."""
        if fresh.peer.id == self.me:
            return Reason.DUPLICATE, "that is ourselves"
        if self.roster.banned(fresh.peer.id, now):
            return Reason.FAULT, "banned"
        if self.pieces.complete and fresh.holds == self.pieces.have:
            return Reason.DONE, "both have everything"
        twin = self.connections.to(fresh.peer.id)
        # Both sides must keep the same one: that which the smaller id dialled.
        if twin is not None and twin.dialer(self.me) < fresh.dialer(self.me):
            return Reason.DUPLICATE, "connected already"
        return None

    def has_place(self, fresh: Connection) -> bool:
        """Whether there is a place left for ``fresh``, now that its twin is gone."""
        limits = self.limits
        strangers = limits.connections_max if self.pieces.complete else limits.accepted_max
        return self.connections.room_for(fresh.dialed, strangers)
