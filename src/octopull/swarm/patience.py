"""How long a swarm goes on without anything of use."""

from dataclasses import dataclass

from octopull.swarm.limits import SwarmLimits


@dataclass(slots=True)
class Patience:
    """When something was gained last, and when that is too long ago.

    Times are seconds on the core's clock.
    """

    limits: SwarmLimits
    gained_at: float = 0.0
    made_room_at: float = 0.0

    def gained(self, now: float) -> None:
        """Something of use came, or was asked for."""
        self.gained_at = now

    def made_room(self, now: float) -> None:
        """A useless connection gave its place to another."""
        self.made_room_at = now

    @property
    def starves_at(self) -> float:
        """When a useless connection should give its place to another."""
        return max(self.gained_at, self.made_room_at) + self.limits.starve_s

    def ends_at(self, *, complete: bool) -> float:
        """When to leave the swarm."""
        idle_s = self.limits.seeder_idle_s if complete else self.limits.give_up_s
        return self.gained_at + idle_s
