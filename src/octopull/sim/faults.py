"""What goes wrong in a run, drawn from its seed; all but bad conduct ends by a stated time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from octopull.sim.scenario import FaultKind, Scenario

SHARE = 0.05
"""Part of the hosts that each kind of fault befalls, one at least: enough to meet each other's
consequences, few enough that the swarm is still one."""

AGENTS_MIN = 4
"""With fewer agents none is made a liar or free rider: someone has to be honest."""

LASTS_S: dict[FaultKind, tuple[float, float]] = {
    FaultKind.CRASH: (0.2, 6.0),
    FaultKind.WIPE: (0.2, 6.0),
    # Both sides of the core's patience with a silent peer, which is 8 s.
    FaultKind.STALL: (1.0, 12.0),
    FaultKind.TRACKER: (1.0, 10.0),
    # Long enough for connections to break, and shorter than the patience of a download.
    FaultKind.PARTITION: (1.0, 15.0),
    FaultKind.CORRUPT: (0.0, 0.0),
}
"""The shortest and the longest of each kind (seconds)."""

ALL_AT_ONCE = frozenset({FaultKind.TRACKER, FaultKind.PARTITION})
"""What befalls the whole world rather than a host."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """``kind`` befalls host number ``host`` at ``at`` and lasts ``lasts_s`` (virtual seconds)."""

    at: float
    kind: FaultKind
    host: int
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Who behaves badly, by number of host, and what happens when."""

    liars: frozenset[int] = frozenset()
    freeriders: frozenset[int] = frozenset()
    mishaps: tuple[Mishap, ...] = ()


def plan(scenario: Scenario) -> Plan:
    """What goes wrong in ``scenario``."""
    # The world's own chance is not touched: without faults a seed gives the run it always gave.
    chance = random.Random(f"faults of {scenario.seed}")
    agents = range(scenario.origins, scenario.origins + scenario.hosts)
    some = max(1, round(SHARE * scenario.hosts))
    bad = chance.sample(agents, 2 * some) if scenario.hosts >= AGENTS_MIN else []
    faults = scenario.faults
    return Plan(
        frozenset(bad[:some] if FaultKind.LIAR in faults else ()),
        frozenset(bad[some:] if FaultKind.FREERIDER in faults else ()),
        tuple(_mishaps(scenario, agents, some, chance)),
    )


def _mishaps(
    scenario: Scenario, agents: range, some: int, chance: random.Random
) -> Iterator[Mishap]:
    # In the order of the enum: a set of strings has one for each interpreter.
    for kind in (kind for kind in FaultKind if kind in scenario.faults and kind in LASTS_S):
        hosts = chance.sample(agents, some)
        if kind in ALL_AT_ONCE:
            hosts = [0]
        elif kind is FaultKind.CRASH and chance.random() < 0.5:
            hosts.append(chance.randrange(scenario.origins))
        for host in hosts:
            at = chance.random() * (scenario.arrivals_end_s + scenario.bound_s)
            yield Mishap(at, kind, host, chance.uniform(*LASTS_S[kind]))


def halves(scenario: Scenario, mishap: Mishap) -> frozenset[int]:
    """The numbers of the hosts in one half of a partition; the others are in the other."""
    everyone = range(scenario.origins + scenario.hosts)
    chance = random.Random(f"halves of {scenario.seed} at {mishap.at!r}")
    return frozenset(chance.sample(everyone, len(everyone) // 2))
