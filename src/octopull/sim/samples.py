"""A run over time: how many are done, and how busy links are."""

from dataclasses import dataclass

from octopull.sim.host import Host
from octopull.sim.world import World

PER_BOUND = 200
"""Samples within the time that the bound says."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The run at one time (virtual seconds).

    ``done`` is the share of the hosts that are, in 0..1; ``origins`` and ``hosts`` are bytes
    that these have sent in all, in units of what their uplinks could carry in a second.
    """

    at: float
    done: float
    origins: float
    hosts: float


class Sampler:
    """Takes samples of a world that has not begun; each costs a look at every host."""

    def __init__(self, world: World) -> None:
        self.samples: list[Sample] = []
        self._world = world
        self._every_s = world.scenario.bound_s / PER_BOUND
        self._origins = world.hosts[: world.scenario.origins]
        self._hosts = world.hosts[world.scenario.origins :]
        self._counted = max(sum(host.counts for host in world.hosts), 1)
        self._look()

    def _look(self) -> None:
        self._sample()
        self._world.agenda.at(self._world.agenda.now + self._every_s, self._look)

    def conclude(self) -> None:
        """The run has ended: take the last sample."""
        self._sample()

    def _sample(self) -> None:
        world = self._world
        done = len(world.finished) / self._counted
        self.samples.append(
            Sample(world.agenda.now, done, _sent_s(self._origins), _sent_s(self._hosts))
        )


def _sent_s(hosts: list[Host]) -> float:
    return sum(host.link.sent for host in hosts) / sum(host.link.up for host in hosts)


def uses(samples: list[Sample], sent_s: list[float], over: int) -> list[tuple[float, float]]:
    """The share of uplinks in use (0..1) at each time, over ``over`` samples before it.

    ``sent_s`` are the samples' ``origins`` or ``hosts``. Bytes are counted when a part of a piece
    has left, so a time in which few parts leave shows a comb rather than a use.
    """
    points = [(samples[0].at, 0.0)]
    for at in range(1, len(samples)):
        before = max(0, at - over)
        elapsed_s = samples[at].at - samples[before].at
        if elapsed_s > 0:
            points.append((samples[at].at, (sent_s[at] - sent_s[before]) / elapsed_s))
    return points
