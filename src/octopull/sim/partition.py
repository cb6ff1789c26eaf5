"""Two halves of the hosts that can't reach each other, for a while."""

from typing import TYPE_CHECKING

from octopull.kernel.peers import Peer
from octopull.sim.host import Host
from octopull.sim.network import Link
from octopull.sim.swarm import SimSwarm
from octopull.swarm.engine import Engine

if TYPE_CHECKING:
    from octopull.sim.world import World

BREAKS_S = 5.0
"""After so long without an acknowledgement kernels give up on a connection (TCP_USER_TIMEOUT)."""

EVER_S = 1e9


class Partition:
    """Frames and bodies between ``half`` and the other hosts are lost while it lasts.

    Connections between them don't know at first: what is sent over them goes nowhere, until both
    sides see them broken.
    """

    def __init__(self, world: "World", half: frozenset[int]) -> None:
        self._world = world
        self._half = half
        self._nowhere = _nowhere(world)
        for host in world.hosts:
            for swarm in host.swarms.values():
                self._sever(swarm)

    def parts(self, one: Host, other: Host) -> bool:
        """Whether the two can't reach each other."""
        return (one.number in self._half) != (other.number in self._half)

    def _sever(self, swarm: SimSwarm) -> None:
        agenda = self._world.agenda
        for conn, end in swarm.ends.items():
            if end.other.host.number >= 0 and self.parts(swarm.host, end.other.host):
                end.other = self._nowhere
                swarm.host.stop(swarm, conn)
                agenda.at(agenda.now + BREAKS_S, swarm.lost, conn)


def _nowhere(world: "World") -> SimSwarm:
    """Where bytes go that reach nobody: as much is sent as a window holds, and never taken."""
    layout = world.layouts[0]
    peer = Peer(id="0" * 40, host="nowhere", port=1)
    link = Link(world.agenda, 1.0, 1.0, layout.piece_length, layout.piece_length)
    link.stall(EVER_S)
    engine = Engine(me=peer.id, layout=layout, have=0, limits=world.scenario.limits, salt=0)
    swarm = SimSwarm(Host(world, -1, peer, link), 0, layout, engine)
    swarm.closed = True
    return swarm
