"""What must hold in every run, whatever goes wrong; and what is said when it does not."""

from collections import deque
from typing import TYPE_CHECKING

from octopull.kernel.errors import Fault
from octopull.swarm.events import Command, Event

if TYPE_CHECKING:
    from octopull.sim.swarm import SimSwarm

Line = tuple[float, Event | Command]
Story = deque[Line]
"""The last that a host's core was told and ordered, with the time (virtual seconds)."""


class Violation(Fault):
    """A simulated swarm did what must not happen, or did not do what must."""

    code = "violation"


def check(swarm: "SimSwarm") -> None:
    """Assert the invariants of a swarm, as its core sees itself and as the world sees it.

    Raises:
        AssertionError: one does not hold.

    """
    engine, host, limits = swarm.engine, swarm.host, swarm.host.world.scenario.limits
    engine.validate()
    host.uplink.validate()
    assert engine.have == swarm.proven, "counts other pieces as verified than came in unharmed"
    assert len(swarm.ends) <= limits.connections_max, "has too many connections"
    assert len(swarm.ends) == engine.connections, "takes other connections for open than are"
    waiting_max = limits.connections_max * limits.served_queue_max * len(host.swarms)
    assert host.uplink.waiting <= waiting_max, "let too many requests wait"


def told(story: Story | None) -> str:
    """The lines of a story, as text under a message."""
    if story is None:
        return ""
    return "".join(f"\n  {when:12.6f} {what}" for when, what in story)
