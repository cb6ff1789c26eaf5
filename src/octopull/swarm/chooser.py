"""Whom to ask next, and for which piece."""

from dataclasses import dataclass

from octopull.kernel import bitfield
from octopull.swarm.chance import Chance
from octopull.swarm.connection import Connection
from octopull.swarm.connections import Connections
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.pace import Pace
from octopull.swarm.picker import Picker
from octopull.swarm.pieces import Pieces


@dataclass(slots=True)
class Chooser:
    """What a reader waits for, then the rarest that is free, then the endgame.

    Of the peers that have something we lack, the one is asked at which the request will wait
    least, as far as we know: links that would idle are found so.

    Only one piece is pulled forward at a time: all else stays rarest first, or every peer
    of a flash crowd would want the same pieces in the same order.
    """

    pieces: Pieces
    picker: Picker
    connections: Connections
    limits: SwarmLimits
    chance: Chance
    pace: Pace
    sought: int | None = None

    def next(self, now: float) -> tuple[Connection, int] | None:
        """The next request, if there is one to make."""
        free = self.pieces.free
        if not free:
            return self._again(now)
        if self.sought is not None and bitfield.has(free, self.sought):
            holder = self._quickest(1 << self.sought)
            if holder is not None:
                return holder, self.sought
        connection = self._quickest(free)
        if connection is None:
            return None
        piece = self.choose(connection)
        assert piece is not None
        return connection, piece

    def choose(self, connection: Connection) -> int | None:
        """A free piece worth asking ``connection`` for, if there is one."""
        return self.picker.rarest(
            self.pieces.free & connection.holds & ~connection.pipeline.late_bits
        )

    def recallable(self, idle: Connection) -> tuple[Connection, int] | None:
        """A piece that waits at the busiest peer and that ``idle`` could send at once."""
        if idle.dear or idle.waiting or idle.pipeline.depth or idle.pipeline.room <= 0:
            return None
        asked = self.pieces.requested & idle.holds & ~idle.pipeline.late_bits
        found, longest = None, 0
        if asked:
            for connection in self.connections.all:
                wait = connection.pipeline.depth + connection.waiting
                if wait > longest and connection is not idle:
                    able = asked & ~connection.recalled
                    for piece in connection.pipeline.asked:
                        if able >> piece & 1 and piece != connection.receiving:
                            found, longest = (connection, piece), wait
        return found

    def _quickest(self, pieces: int) -> Connection | None:
        """A connection with room, at which one of ``pieces`` would wait least."""
        best, least = None, 1 << 30
        everyone, scarce = self.connections.all, self.picker.scarce
        start = self.chance.below(len(everyone)) if everyone else 0
        for at in range(len(everyone)):
            connection = everyone[at - start]
            pipeline = connection.pipeline
            if connection.waiting and not pipeline.depth:
                # The line was that long when it was last heard of, and it moves as ours does.
                connection.waiting -= 1
            wait = pipeline.depth + connection.waiting
            if wait < least and pipeline.room > 0 and not (connection.far and pipeline.depth):
                offered = connection.holds & pieces & ~pipeline.late_bits
                if not offered & scarce:
                    wait += connection.dear
                if offered and wait < least:
                    best, least = connection, wait
        return best

    def _again(self, now: float) -> tuple[Connection, int] | None:
        """The endgame: nothing is left to ask for, and an idle connection asks twice.

        Only for what has been waited for unusually long: most of the rest is on its way.
        """
        missing = self.pieces.missing
        # A body that stands still stays asked for, though its piece came by another way.
        slow = self._slow(now) & missing if missing else 0
        if not slow:
            return None
        for connection in self.connections.all:
            if connection.pipeline.depth == 0 and connection.pipeline.room > 0:
                theirs = slow & connection.holds & ~connection.pipeline.late_bits
                piece = self.picker.rarest(theirs)
                if piece is not None:
                    return connection, piece
        return None

    def _slow(self, now: float) -> int:
        """Pieces asked of one peer alone, longer ago than they usually take twice."""
        return bitfield.of(
            piece
            for connection in self.connections.all
            for piece in connection.pipeline.asked
            if connection.pipeline.age_s(piece, now) >= 2 * self.pace.piece_s
            and len(self.pieces.askers(piece)) < self.limits.duplicates_max
        )
