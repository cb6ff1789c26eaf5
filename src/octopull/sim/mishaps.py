"""Mishaps as they befall a world, and their end."""

from typing import TYPE_CHECKING

from octopull.kernel import bitfield
from octopull.sim import faults
from octopull.sim.faults import Mishap
from octopull.sim.host import Host
from octopull.sim.partition import Partition
from octopull.sim.scenario import FaultKind

if TYPE_CHECKING:
    from octopull.sim.world import World


def befall(world: "World", mishap: Mishap) -> None:
    """It happens now; its end is planned."""
    host, agenda = world.hosts[mishap.host], world.agenda
    match mishap.kind:
        case FaultKind.CRASH | FaultKind.WIPE:
            # Who is down already, or has not begun, has nothing to lose.
            if host.swarms and host.up:
                kept = _crash(world, host, mishap.kind)
                agenda.at(agenda.now + mishap.lasts_s, _restart, world, host, kept)
        case FaultKind.CORRUPT:
            host.spoils += 1
        case FaultKind.STALL:
            host.link.stall(mishap.lasts_s)
        case FaultKind.TRACKER:
            world.tracker.reachable = False
            agenda.at(agenda.now + mishap.lasts_s, _reach_tracker, world)
        case FaultKind.PARTITION:
            world.partition = Partition(world, faults.halves(world.scenario, mishap))
            agenda.at(agenda.now + mishap.lasts_s, _join, world)
        case FaultKind.LIAR | FaultKind.FREERIDER:
            raise AssertionError(mishap)


def _crash(world: "World", host: Host, kind: FaultKind) -> dict[int, int]:
    """Per blob, the pieces that are still there afterwards."""
    host.crash()
    if host.counts:
        world.left += sum(swarm.done_at is not None for swarm in host.swarms.values())
    kept = {blob: swarm.engine.have for blob, swarm in host.swarms.items()}
    if kind is FaultKind.CRASH:
        return kept
    for blob, have in kept.items():
        layout = world.layouts[blob]
        host.wiped_bytes += sum(layout.span(piece)[1] for piece in bitfield.pieces(have))
    return dict.fromkeys(kept, 0)


def _restart(world: "World", host: Host, kept: dict[int, int]) -> None:
    host.up = True
    for blob, have in kept.items():
        world.join(host, blob, have)
    for swarm in host.swarms.values():
        swarm.start()


def _reach_tracker(world: "World") -> None:
    world.tracker.reachable = True


def _join(world: "World") -> None:
    world.partition = None
