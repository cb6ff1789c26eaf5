"""What each peer is told that we hold, and when."""

from dataclasses import dataclass
from typing import Protocol

from octopull.swarm.chance import Chance
from octopull.swarm.connection import Connection
from octopull.swarm.limits import Seeding, SwarmLimits
from octopull.swarm.picker import Picker
from octopull.swarm.pieces import Pieces

STRETCH = 32
"""Pieces, counted from a multiple of it, that a sparing seed shows in an order of its own: the
first to leave of what it holds, so that what peers get grows from the beginning. Several seeds begin
with different pieces of the stretch, and know what the others gave before they get there."""


class Offers(Protocol):
    """A way to tell; methods that return pieces return those to tell of, perhaps none."""

    def greeting(self, have: int) -> int:
        """What a handshake says that we hold."""
        ...

    def untold(self, pieces: int) -> int:
        """Of what we hold and a new peer does not know of: what it shall hear of in time."""
        ...

    def news(self, connection: Connection, due: bool) -> int:  # noqa: FBT001
        """After it told us what it holds, or was given a piece, or we gained one.

        ``due``: it was not told for so long that a few pieces are worth a frame.
        """
        ...

    def wanted(self, connection: Connection, piece: int) -> int:
        """After it said that a reader of its waits for ``piece``."""
        ...

    def due(self, connection: Connection) -> int:
        """Of what waits, if it is to wait no longer."""
        ...

    def spread(self, told: int) -> int:
        """Of what a peer was told: what counts as spread as far as it."""
        ...


@dataclass(slots=True)
class Open:
    """Everything, a batch at a time or when it is due."""

    limits: SwarmLimits

    def greeting(self, have: int) -> int:
        return have

    def untold(self, pieces: int) -> int:
        return pieces

    def news(self, connection: Connection, due: bool) -> int:  # noqa: FBT001
        untold = connection.untold
        if untold and (due or untold.bit_count() >= self.limits.batch_pieces):
            return self.due(connection)
        return 0

    def wanted(self, connection: Connection, piece: int) -> int:
        return connection.untold & 1 << piece

    def due(self, connection: Connection) -> int:
        told = connection.untold & ~connection.holds
        connection.untold = 0
        return told

    def spread(self, told: int) -> int:
        return told & 0


@dataclass(slots=True)
class Sparing:
    """Each peer a few pieces at a time, the least spread first: super-seeding (BEP 16).

    Every piece leaves once before any leaves twice, so the seed's link carries what nobody else
    can give. They leave about in their order: readers, and the digest of the whole, go on with what
    is there from the beginning, while peers have as much to give each other as by any other order.
    """

    limits: SwarmLimits
    pieces: Pieces
    around: Picker
    start: int
    grows: bool = False
    """Whether pieces come while they are given on: then few are there, several peers are shown the
    same, and who gets one from another does not say so, since we hold it ourselves."""
    taken: int = 0
    """What was given to anybody by a seed that grows."""

    @classmethod
    def of(cls, limits: SwarmLimits, pieces: Pieces, around: Picker, chance: Chance) -> "Sparing":
        """As a seed that holds ``pieces`` begins, at a place of each stretch left to chance."""
        start = chance.below(STRETCH)
        return cls(limits, pieces, around, start, grows=not pieces.complete)

    def greeting(self, have: int) -> int:
        return have & 0

    def untold(self, pieces: int) -> int:
        return pieces & 0

    def news(self, connection: Connection, due: bool) -> int:  # noqa: ARG002, FBT001
        shown = connection.told & ~connection.holds & ~connection.given
        if self.grows:
            self.taken |= connection.given
            shown &= ~self.taken
        lacked = self.pieces.have & ~connection.holds & ~connection.told
        told = 0
        for _ in range(self.limits.shown_max - shown.bit_count()):
            piece = self.around.rarest_in_stretch(lacked & ~told, STRETCH, self.start)
            if piece is None:
                break
            told |= 1 << piece
        return told

    def wanted(self, connection: Connection, piece: int) -> int:
        """Show it, unless another has it or was shown it, and so will pass it on: the readers of a
        flash crowd all wait for the same piece.
        """
        lacked = self.pieces.have & ~(connection.holds | connection.told) & 1 << piece
        return lacked if self.around.holders(piece) == 0 else 0

    def due(self, connection: Connection) -> int:
        return connection.untold & 0

    def spread(self, told: int) -> int:
        return told


def offers_of(limits: SwarmLimits, pieces: Pieces, around: Picker, chance: Chance) -> Offers:
    """As ``limits`` say that a peer seeds."""
    if limits.seeding is Seeding.SPARING:
        return Sparing.of(limits, pieces, around, chance)
    return Open(limits)
