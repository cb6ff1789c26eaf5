"""``octopull sim``: swarms on virtual time, with the real core, tracker and uplink."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from octopull.cli.quantities import Rate, Size
from octopull.cli.simulating import Outcome, Progress, follow, follow_all
from octopull.kernel.errors import Misuse
from octopull.kernel.units import MIB
from octopull.sim import chart
from octopull.sim.report import COLUMNS, lines, row
from octopull.sim.samples import Sampler
from octopull.sim.scenario import Arrival, FaultKind, Scenario
from octopull.sim.world import World

HOSTS_MAX = 100_000
BLOBS_MAX = 100_000
STORY_LINES = 50
CHECK_EVERY = 8
"""Events of a swarm between two checks, if it is checked closely."""

EPILOG = """\b
Examples:
  octopull sim                                       100 hosts, 256 MiB, 1 Gbit/s
  octopull sim --hosts 15000 --blob 3GiB --rate 10Gbit/s --plot swarm.svg
  octopull sim --hosts 200 --faults mix --seeds 200 --processes 2 --check
  octopull sim --hosts 2000 --blob 550MB --times 20000 --pick 10 --origins 40 --replicas 2
  octopull sim --hosts 40 --faults liar,partition --seed 7 --check --json -
"""


class Faults(click.ParamType[frozenset[FaultKind]]):
    """Faults by name, between commas, or all of them as ``mix``."""

    name = "faults"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[FaultKind]:
        """Parse, and name those there are if one is unknown."""
        if isinstance(value, frozenset):
            return value
        if value == "mix":
            return frozenset(FaultKind)
        try:
            return frozenset(FaultKind(word.strip()) for word in value.split(",") if word.strip())
        except ValueError as error:
            self.fail(f"{error}; there are {', '.join(FaultKind)}, and mix", param, ctx)


@click.command(epilog=EPILOG)
@click.option("--hosts", default=100, show_default=True, type=click.IntRange(1, HOSTS_MAX))
@click.option("--blob", "blobs", multiple=True, type=Size(), default=[f"{256 * MIB}"],
              help="Size of a blob that every host pulls; may be given several times.  [256MiB]")  # fmt: skip
@click.option("--times", default=1, show_default=True, type=click.IntRange(1, BLOBS_MAX),
              help="So many blobs of each size.")  # fmt: skip
@click.option("--pick", type=click.IntRange(1, BLOBS_MAX),
              help="Blobs that each host pulls, drawn by chance.  [all]")  # fmt: skip
@click.option("--piece", "piece_length", type=Size(),
              help="Piece length, a power of two.  [by the blob's size]")  # fmt: skip
@click.option("--rate", type=Rate(), default="1Gbit/s", show_default=True,
              help="Payload of each direction of a host's link: 10Gbit/s, 300MB/s.")  # fmt: skip
@click.option("--origins", default=1, show_default=True, type=click.IntRange(1, 1000))
@click.option("--replicas", type=click.IntRange(1, 1000),
              help="Origins that hold each blob.  [all]")  # fmt: skip
@click.option("--origin-rate", type=Rate(), help="As --rate, for origins.  [as the hosts']")
@click.option("--zones", default=1, show_default=True, type=click.IntRange(1, 1000),
              help="Zones that hosts and origins are dealt out to.")  # fmt: skip
@click.option("--arrival", default=Arrival.FLASH.value, show_default=True,
              type=click.Choice([one.value for one in Arrival]),
              help="All at once, one after the other, or one in ten when half the time is over.")  # fmt: skip
@click.option("--arrival-s", type=click.FloatRange(0.0),
              help="Seconds that arrivals take.  [0.1; staggered: the bound]")  # fmt: skip
@click.option("--slow-share", default=0.0, show_default=True, type=click.FloatRange(0.0, 1.0),
              help="Part of the hosts that has a tenth of the rate.")  # fmt: skip
@click.option("--frame-delay-s", default=Scenario().frame_delay_s, show_default=True,
              type=click.FloatRange(0.0, 60.0),
              help="Seconds that requests and news wait behind bulk on a busy uplink.")  # fmt: skip
@click.option("--faults", type=Faults(), default=frozenset[FaultKind](),
              help=f"What goes wrong, between commas: {', '.join(FaultKind)}; or mix.")  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1),
              help="Run so many seeds, from --seed on.")  # fmt: skip
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 1024),
              help="Processes that seeds are spread over.")  # fmt: skip
@click.option("--json", "document", metavar="FILE",
              help="Write the reports here as JSON; - is standard output, and no text then.")  # fmt: skip
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg",
              help="Draw completion and the use of links over time; of one seed.")  # fmt: skip
@click.option("--check/--no-check", default=False, show_default=True,
              help="Check invariants often, and tell a failing host's last events.")  # fmt: skip
def sim(**options: Any) -> None:
    """Simulate swarms: the real core on virtual time. The same seed gives the same result.

    Exits with 1 if in any run an invariant did not hold or an honest host did not finish.
    """
    seeds, plot, document = options["seeds"], options["plot"], options["document"]
    if plot is not None and seeds > 1:
        raise click.UsageError("--plot draws one run: leave out --seeds")
    scenarios = [_scenario(options, options["seed"] + number) for number in range(seeds)]
    if seeds == 1:
        outcomes = [_run(scenarios[0], plot)]
    else:
        outcomes = follow_all(scenarios, options["processes"])
    _show(outcomes, Console(stderr=document == "-", highlight=False, soft_wrap=True))
    if document is not None:
        _write(document, outcomes)
    if any(outcome.report is None for outcome in outcomes):
        raise SystemExit(1)


def _scenario(options: dict[str, Any], seed: int) -> Scenario:
    arrival = Arrival(options["arrival"])
    same = ("hosts", "blobs", "times", "pick", "piece_length", "rate", "origins", "replicas",
            "origin_rate", "zones", "slow_share", "frame_delay_s", "faults")  # fmt: skip
    try:
        scenario = Scenario(**{name: options[name] for name in same}, arrival=arrival, seed=seed)
        arrival_s = options["arrival_s"]
        if arrival_s is None:
            arrival_s = scenario.bound_s if arrival is Arrival.STAGGERED else scenario.arrival_s
        scenario = replace(scenario, arrival_s=arrival_s)
    except Misuse as error:
        raise click.UsageError(f"{error} ({error.details})") from error
    if options["check"]:
        scenario = replace(scenario, check_every=CHECK_EVERY, story_lines=STORY_LINES)
    return scenario


def _run(scenario: Scenario, plot: Path | None) -> Outcome:
    world = World(scenario)
    sampler = Sampler(world) if plot is not None else None
    with Progress(world) as progress:
        outcome = follow(world, progress.show)
    if plot is not None and sampler is not None:
        sampler.conclude()
        plot.write_text(chart.draw(scenario, sampler.samples))
    return outcome


def _show(outcomes: list[Outcome], console: Console) -> None:
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    if len(outcomes) > 1:
        table = Table(*COLUMNS, box=None)
        for report in reports:
            table.add_row(*row(report))
        console.print(table)
        console.print(f"{len(reports)} of {len(outcomes)} runs are good")
    else:
        for name, value in (pair for report in reports for pair in lines(report)):
            console.print(f"{name:<20} {value}", markup=False)
    for outcome in outcomes:
        if outcome.report is None:
            click.echo(f"octopull: {outcome.failure}", err=True)


def _write(document: str, outcomes: list[Outcome]) -> None:
    content = json.dumps([outcome.document() for outcome in outcomes], indent=2)
    if document == "-":
        click.echo(content)
    else:
        Path(document).write_text(content + "\n")
