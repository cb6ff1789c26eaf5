"""Two sides measured in turn, so that a machine whose speed drifts treats both alike."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class Sample:
    """One run of one side: its figure, and the CPU seconds and bytes behind it."""

    value: float
    cpu_s: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Sides:
    """The two sides of a line, ready to run; ``rss_mib`` is asked after the last run."""

    ours: Callable[[], Sample]
    rival: Callable[[], Sample]
    rss_mib: Callable[[], float]
    pairs: int | None = None
    """If the line wants another number of pairs than the others."""
    warm_up: bool = True


@dataclass(frozen=True)
class Line:
    """One line of the table: what is measured, in which unit, against whom."""

    name: str
    unit: str
    rival_name: str
    prepare: Callable[[Path], AbstractContextManager[Sides]]
    aim: str


@dataclass(frozen=True)
class Result:
    """What a line came to: medians over the pairs, and the median of the pairs' ratios."""

    name: str
    ours: float
    rival: float
    rival_name: str
    unit: str
    ratio: float
    ours_cpu_s_per_gib: float | None
    rival_cpu_s_per_gib: float | None
    ours_rss_mib: float
    aim: str
    pairs: int


def measure(line: Line, folder: Path, pairs: int) -> Result:
    """Run ``line``: one pair to warm up, then ``pairs`` that count."""
    with line.prepare(folder) as sides:
        count = sides.pairs or pairs
        if sides.warm_up:
            sides.ours(), sides.rival()
        rows = list(_in_turn(sides, count))
        rss_mib = sides.rss_mib()
    return Result(
        name=line.name,
        ours=statistics.median(ours.value for ours, _ in rows),
        rival=statistics.median(rival.value for _, rival in rows),
        rival_name=line.rival_name,
        unit=line.unit,
        ratio=statistics.median(ours.value / rival.value for ours, rival in rows),
        ours_cpu_s_per_gib=_cpu([ours for ours, _ in rows]),
        rival_cpu_s_per_gib=_cpu([rival for _, rival in rows]),
        ours_rss_mib=rss_mib,
        aim=line.aim,
        pairs=count,
    )


def _in_turn(sides: Sides, count: int) -> Iterator[tuple[Sample, Sample]]:
    for number in range(count):
        if number % 2:
            rival = sides.rival()
            yield sides.ours(), rival
        else:
            ours = sides.ours()
            yield ours, sides.rival()


def _cpu(samples: list[Sample]) -> float | None:
    if not all(sample.bytes for sample in samples):
        return None
    return statistics.median(sample.cpu_s * GIB / sample.bytes for sample in samples)
