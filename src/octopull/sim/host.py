"""One simulated host: its link, its swarms, and whose bodies leave next."""

from functools import partial
from typing import TYPE_CHECKING

from octopull.kernel.peers import Peer, PeerKind
from octopull.sim.network import Body, Link
from octopull.sim.swarm import SimSwarm
from octopull.swarm.events import Served
from octopull.swarm.uplink import Uplink

if TYPE_CHECKING:
    from octopull.sim.world import World

EVERY = 1 << 62
"""So many bodies are all that a host ever sends."""


class Host:
    """A host in the world.

    ``spoils`` counts the bodies, from the next on, that it sends with wrong bytes; ``freerides``
    says that it takes requests and answers none. ``said`` counts its frames, ``crossed_bytes``
    what it sent to other zones, ``wiped_bytes`` what it had before it lost its disk.
    """

    def __init__(self, world: "World", number: int, peer: Peer, link: Link) -> None:
        self.world = world
        self.number = number
        self.peer = peer
        self.link = link
        self.swarms: dict[int, SimSwarm] = {}
        self.up = True
        self.spoils = 0
        self.freerides = False
        self.said = 0
        self.crossed_bytes = 0
        self.wiped_bytes = 0
        self._conns = 0
        self.uplink = self._new_uplink()
        self._bodies: dict[tuple[int, int], Body] = {}
        self._alarm = False

    def _new_uplink(self) -> Uplink:
        scenario = self.world.scenario
        return Uplink(scenario.uploads_max, self._held, scenario.turn_s)

    def _held(self, key: tuple[int, int]) -> int:
        return self.swarms[key[0]].engine.held_by(key[1])

    @property
    def counts(self) -> bool:
        """Whether the host must get all blobs: an agent that plays by the rules."""
        return self.peer.kind is PeerKind.AGENT and self.honest

    @property
    def reads(self) -> bool:
        """Whether a client reads each blob while it comes."""
        return self.peer.kind is PeerKind.AGENT and self.world.scenario.readers

    @property
    def honest(self) -> bool:
        """Whether the host plays by the rules, but for a damaged body now and then."""
        return not self.freerides and self.spoils < EVERY // 2

    def new_conn(self) -> int:
        """A number for a connection."""
        self._conns += 1
        return self._conns

    def serve(self, swarm: SimSwarm, conn: int, piece: int, rank: int) -> None:
        """A body is to be sent when its turn comes."""
        if not self.freerides:
            length = swarm.layout.span(piece)[1]
            self.uplink.order((swarm.blob, conn), piece, length, rank)
            self._begin()

    def _begin(self) -> None:
        now = self.world.agenda.now
        for key, piece in self.uplink.begin(now):
            swarm = self.swarms[key[0]]
            end = swarm.ends[key[1]]
            other = end.other
            length = swarm.layout.span(piece)[1]
            if other.host.peer.zone != self.peer.zone:
                self.crossed_bytes += length
            arrived = other.arrived
            if self.spoils:
                self.spoils -= 1
                arrived = other.arrived_spoilt
            body = Body(
                length, other.host.link, end.latency_s,
                partial(other.begun, end.theirs, piece, length, self.uplink.waiting),
                partial(self._left, key, piece),
                partial(arrived, end.theirs, piece),
            )  # fmt: skip
            self._bodies[key] = body
            self.link.send(body)
        when = self.uplink.next_turn(now)
        if when is not None and not self._alarm:
            self._alarm = True
            self.world.agenda.at(when, self._turn_over)

    def _turn_over(self) -> None:
        self._alarm = False
        self._begin()

    def _left(self, key: tuple[int, int], piece: int) -> None:
        del self._bodies[key]
        self.uplink.left(key, self.world.agenda.now)
        self.swarms[key[0]].tell(Served(key[1], piece))
        self._begin()

    def withdraw(self, swarm: SimSwarm, conn: int, piece: int) -> bool:
        """Take back a body that has not begun; whether it had not."""
        return self.uplink.withdraw((swarm.blob, conn), piece)

    def drop(self, swarm: SimSwarm, conn: int) -> None:
        """The connection is gone, and with it the body under way."""
        key = (swarm.blob, conn)
        self.uplink.drop(key, self.world.agenda.now)
        body = self._bodies.pop(key, None)
        if body is not None:
            body.cut = True
        self._begin()

    def stop(self, swarm: SimSwarm, conn: int) -> None:
        """Nothing gets through any more, though nobody knows: the body under way stays so."""
        body = self._bodies.get((swarm.blob, conn))
        if body is not None:
            body.cut = True

    def crash(self) -> None:
        """The process is gone, and all that it had in memory."""
        self.up = False
        for body in self._bodies.values():
            body.cut = True
        self._bodies.clear()
        self.uplink = self._new_uplink()
        for swarm in self.swarms.values():
            swarm.close()
