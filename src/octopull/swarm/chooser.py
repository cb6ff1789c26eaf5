"""Which piece to ask of one connection next."""

from dataclasses import dataclass

from octopull.kernel import bitfield
from octopull.swarm.connection import Connection
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.picker import Picker
from octopull.swarm.pieces import Pieces


@dataclass(slots=True)
class Chooser:
    """What a reader waits for, then the rarest that is free, then the endgame.

    Only one piece is pulled forward at a time: all else stays rarest first, or every peer
    of a flash crowd would want the same pieces in the same order.
    """

    pieces: Pieces
    picker: Picker
    limits: SwarmLimits
    sought: int | None = None

    def choose(self, connection: Connection) -> int | None:
        """A piece worth asking ``connection`` for, if there is one."""
        theirs = connection.holds & ~bitfield.of(connection.pipeline.late)
        free = self.pieces.free & theirs
        if self.sought is not None and bitfield.has(free, self.sought):
            return self.sought
        if free:
            return self.picker.rarest(free)
        return self._again(connection, theirs)

    def _again(self, connection: Connection, theirs: int) -> int | None:
        """The endgame: when nothing is left to ask for, an idle connection asks twice."""
        if not connection.pipeline.idle or self.pieces.free:
            return None
        candidates = bitfield.of(
            piece
            for piece in bitfield.pieces(self.pieces.missing & theirs)
            if len(self.pieces.askers(piece)) < self.limits.duplicates_max
        )
        return self.picker.rarest(candidates)
