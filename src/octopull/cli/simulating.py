"""Runs of simulated swarms: one after the other or side by side, with their progress."""

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

import click

from octopull.sim.checks import Violation
from octopull.sim.command import command
from octopull.sim.report import Report, measure
from octopull.sim.scenario import Scenario
from octopull.sim.world import ADVANCE, World

SHOW_S = 1.0
"""Between two lines of progress: a person reads no faster."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that ended: with a report, or with what did not hold."""

    report: Report | None
    failure: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"failure": self.failure} if self.report is None else self.report.document()


def follow(world: World, show: Callable[[], None]) -> Outcome:
    """Let a world run to its end; ``show`` is called every second or so."""
    try:
        while world.advance(ADVANCE):
            show()
    except Violation as violation:
        again = f"again: {command(world.scenario)} --check"
        return Outcome(None, f"{violation}\n{again}")
    return Outcome(measure(world))


def follow_all(scenarios: list[Scenario], processes: int) -> list[Outcome]:
    """Run each scenario in one of ``processes``; outcomes in the order of scenarios."""
    outcomes: list[Outcome] = []
    # Spawned, not forked: the same on every system, and threads of a terminal's are no matter.
    context = get_context("spawn")
    # Leaving the block ends the workers, be it for Ctrl-C, of which they take no notice.
    with context.Pool(processes, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        for outcome in pool.imap(_follow, scenarios):
            outcomes.append(outcome)
            _rewrite(f"{len(outcomes)} of {len(scenarios)} seeds")
    _rewrite("")
    return outcomes


def _follow(scenario: Scenario) -> Outcome:
    return follow(World(scenario), lambda: None)


class Progress:
    """A line on a terminal's standard error, rewritten each second; nothing elsewhere."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._all = world.left
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown > self._began:
            _rewrite("")

    def show(self) -> None:
        """Say how far the run is, if it is time to."""
        now = time.monotonic()
        if now - self._shown >= SHOW_S:
            self._shown = now
            share, received = self._share(), self._world.agenda
            _rewrite(f"{share:4.0%} of the bytes, {received.now:.2f} s of virtual time, "
                     f"{received.count} events in {now - self._began:.0f} s")  # fmt: skip

    def _share(self) -> float:
        world = self._world
        received = sum(host.link.received for host in world.hosts)
        return min(
            received / (world.scenario.size * world.scenario.share * world.scenario.hosts), 1.0
        )


def _rewrite(line: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", err=True, nl=False)
