"""One blob to many hosts at once: what is asked of every contender, and what it answers."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.content import MIB
from harness.lab import Host, Lab, bits_per_s
from harness.memory import touch
from octopull.sim.scenario import Scenario as Simulated

GIB = 1 << 30
TOUCHED = 1.3
"""Memory to have at hand: each host's copy, and some room."""

SETTLE_S = 1.0
"""From the last process's start to the common start: interpreters come to rest."""


@dataclass(frozen=True)
class Scenario:
    """``hosts`` pull ``mib`` MiB at once; every link carries ``rate`` each way."""

    hosts: int
    rate: str
    mib: int

    @property
    def size(self) -> int:
        return self.mib * MIB

    @property
    def bound_s(self) -> float:
        """Seconds that no contender can beat, nearly: TCP's and IP's headers come on top.

        One seed's link must carry each of M pieces once, and the last to leave it must still
        double its copies, in steps of a piece's time, until n hosts have it:
        (M + ceil(log2 n) - 1) / M * size / rate. M is octopull's number of pieces, for all.
        """
        rate = bits_per_s(self.rate) / 8
        one = Simulated(hosts=self.hosts, blobs=(self.size,), piece_length=None, rate=rate)
        return one.bound_s

    @property
    def deadline_s(self) -> float:
        """When a run counts as failed: twice what one server alone would take, and 30 s."""
        return 30 + 2 * self.hosts * self.size * 8 / bits_per_s(self.rate)


@dataclass(frozen=True)
class Ground:
    """Where a contender runs: a lab that it caps when it is ready, and files of its own."""

    scenario: Scenario
    lab: Lab
    seeds: int
    blob: Path
    digest: str
    folder: Path

    def cap(self) -> None:
        """Cap the links, when all is ready to start; whatever the contender, memory is at hand."""
        self.lab.cap(self.scenario.rate)
        touch(self.folder, int(TOUCHED * self.scenario.hosts * self.scenario.size))

    @property
    def origins(self) -> list[Host]:
        return self.lab.hosts[: self.seeds]

    @property
    def pullers(self) -> list[Host]:
        return self.lab.hosts[self.seeds :]


@dataclass(frozen=True)
class Pulled:
    """One run: each host's seconds from the common start, and what it took.

    ``cpu_s`` is user and system time of the contender's processes between the common start and
    the last host's end. Clients that read from an agent or from nginx do not count.
    """

    seconds: list[float]
    cpu_s: float
    origin_bytes: int
    wasted_bytes: int | None = None


Contender = Callable[[Ground], Pulled]


@dataclass(frozen=True)
class Row:
    """A scenario's result for one contender: its run with the median p99."""

    hosts: int
    rate: str
    mib: int
    who: str
    origins: int
    p50_s: float
    p99_s: float
    max_s: float
    bound_s: float
    p99_over_bound: float
    cpu_s_per_gib: float
    origin_share: float
    wasted_bytes: int | None
    p99_runs_s: list[float]

    @property
    def key(self) -> tuple[int, str, int, str, int]:
        return self.hosts, self.rate, self.mib, self.who, self.origins


def p99_s(run: Pulled) -> float:
    """The time by which 99 of 100 hosts were done, rounded up to a host."""
    count = len(run.seconds)
    return sorted(run.seconds)[min(count - 1, int(count * 0.99))]


def row(scenario: Scenario, who: str, origins: int, runs: Sequence[Pulled]) -> Row:
    """``runs`` (at least one) as a row of the table."""
    ordered = sorted(runs, key=p99_s)
    run = ordered[(len(ordered) - 1) // 2]
    delivered = scenario.hosts * scenario.size
    return Row(
        hosts=scenario.hosts, rate=scenario.rate, mib=scenario.mib, who=who, origins=origins,
        p50_s=statistics.median_high(run.seconds), p99_s=p99_s(run), max_s=max(run.seconds),
        bound_s=scenario.bound_s, p99_over_bound=p99_s(run) / scenario.bound_s,
        cpu_s_per_gib=run.cpu_s * GIB / delivered, origin_share=run.origin_bytes / delivered,
        wasted_bytes=run.wasted_bytes, p99_runs_s=[round(p99_s(one), 3) for one in runs],
    )  # fmt: skip
