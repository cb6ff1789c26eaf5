"""Runs chaos: one seed with its story, or many with a table."""

import asyncio
import shutil
import tempfile
import time
import traceback
from pathlib import Path

import click

from support.chaos import drives, pair, report, run
from support.chaos.forks import Forks, faketime
from support.chaos.lab import lacking
from support.chaos.pair import PAIR
from support.chaos.run import LENGTH_S, SHAPE
from support.chaos.trial import Told
from support.chaos.verdict import Verdict
from support.production import Shape

RESULTS = Path(__file__).parents[3] / "bench" / "results" / "chaos.json"


def one(forks: Forks, seed: int, length_s: float, shape: Shape, clusters: int) -> Told:
    """A run; its data and logs stay if it found something."""
    course = pair.run if clusters == 2 else run.run
    folder = Path(tempfile.mkdtemp(prefix=f"octopull-chaos-{seed}-"))
    started_s = time.monotonic()
    try:
        told = asyncio.run(course(folder, forks, seed, length_s, shape, say=click.echo))
    except Exception:  # noqa: BLE001 - the other seeds still have something to tell
        broken = Verdict(broken=[traceback.format_exc()])
        told = Told(seed, time.monotonic() - started_s, verdict=broken)
    for sentence in told.verdict.sentences():
        click.echo(sentence)
    for name, available in told.available.items():
        for failed in available.failed:
            click.echo(f"not pulled while {name}: {failed}")
    if told.verdict.good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        again = f"--seed {seed} --length {length_s:g} --tag-indexes {shape.tag_indexes}"
        again += f" --clusters {clusters}"
        click.echo(f'logs and configs: {folder}; again: make faults ARGS="{again}"')
    return told


@click.command(epilog="Example: make faults ARGS='--seed 7'")
@click.option("--seed", default=1, show_default=True, help="The seed, or the first of many.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1),
              help="How many; of more than one, the results are written.")  # fmt: skip
@click.option("--length", "length_s", default=LENGTH_S, show_default=True,
              help="Seconds in which things befall the cluster.")  # fmt: skip
@click.option("--tag-indexes", default=SHAPE.tag_indexes, show_default=True)
@click.option("--replicas", default=SHAPE.replicas, show_default=True)
@click.option("--clusters", default=1, show_default=True, type=click.IntRange(1, 2),
              help="Two replicate to each other.")  # fmt: skip
@click.option("--results", default=RESULTS, type=click.Path(path_type=Path))
def main(
    seed: int, seeds: int, length_s: float, tag_indexes: int, replicas: int, clusters: int,
    results: Path,
) -> None:  # fmt: skip
    """Kill, stop, cut off, fill and damage nodes of a cluster, and see what its clients saw."""
    if lacking():
        raise click.ClickException(f"no hosts for nodes here: needs {', '.join(lacking())}")
    if not faketime():
        click.echo("no libfaketime here, so no clock goes wrong, and seeds draw other mishaps")
    if drives.lacking():
        missing = ", ".join(drives.lacking())
        click.echo(f"no disk is slow here ({missing}), and seeds draw other mishaps")
    shape = (PAIR if clusters == 2 else SHAPE).having(tag_indexes=tag_indexes, replicas=replicas)
    runs: list[Told] = []
    with Forks() as forks:
        for number in range(seed, seed + seeds):
            runs.append(one(forks, number, length_s, shape, clusters))
            if seeds > 1:
                report.write(runs, results)
    report.show(runs)
    raise SystemExit(not all(told.verdict.good for told in runs))


if __name__ == "__main__":
    main()
