"""N hosts pull one blob at once over capped links: octopull, libtorrent, and one nginx for all.

Every host is a network namespace on this machine, its link capped in both directions; the seeds
are further hosts with links like the others'. CPU is that of the contender's own processes while
they pull; the clients, which only throw bytes away, are not counted.
"""

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from contenders import libtorrent_swarm, nginx_server, octopull_swarm
from harness.content import write_blob
from harness.lab import HOSTS_MAX, bits_per_s, lab
from harness.rivals import lacking
from harness.swarm_report import save, show
from harness.swarming import Contender, Ground, Pulled, Row, Scenario, p99_s, row
from octopull.kernel.errors import Unavailable

SCENARIOS = (
    Scenario(8, "100mbit", 64), Scenario(8, "100mbit", 128), Scenario(16, "100mbit", 64),
    Scenario(16, "100mbit", 128), Scenario(32, "30mbit", 32),
)  # fmt: skip
CONTENDERS: dict[str, Contender] = {
    "octopull": octopull_swarm.pull,
    "libtorrent": libtorrent_swarm.pull,
    "nginx": nginx_server.pull,
}
NGINX_S_MAX = 120.0
"""A scenario in which one server takes longer leaves nginx out: hosts * size / rate is known."""
FOLDERS = "octopull-bench-swarm-"
RESULTS = Path(__file__).parent / "results" / "swarm.json"


def _rate(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        if value is not None:
            bits_per_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@click.command(epilog="Example: make bench-swarm ARGS='--hosts 8 --who octopull --runs 1'")
@click.option("--hosts", type=click.IntRange(1, HOSTS_MAX - 2), help="Hosts that pull.")
@click.option("--rate", callback=_rate, help="Of each link, as tc writes it: 100mbit.")
@click.option("--mib", type=click.IntRange(1), help="Size of the blob. With --hosts, --rate or"
              " --mib, one scenario (8, 100mbit, 64 unless said); else the usual ones.")  # fmt: skip
@click.option("--who", multiple=True, type=click.Choice(list(CONTENDERS)),
              help="Measure this one; may be repeated. Without it, all.")  # fmt: skip
@click.option("--no-nginx", is_flag=True, help="Leave nginx out, which takes hosts times as long.")
@click.option("--origins", default=1, show_default=True, type=click.IntRange(1, 2),
              help="Seeds of octopull and libtorrent; nginx is always one.")  # fmt: skip
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1))
@click.option("--save/--no-save", "keep", default=True, help="Write the results file.")
@click.option("--keep-logs", type=click.Path(file_okay=False, path_type=Path),
              help="Keep each process's log, and each agent's status, in this folder.")  # fmt: skip
def main(
    hosts: int | None, rate: str | None, mib: int | None, who: tuple[str, ...],
    no_nginx: bool, origins: int, runs: int, keep: bool, keep_logs: Path | None,  # noqa: FBT001
) -> None:  # fmt: skip
    """Measure a swarm."""
    names = [name for name in who or CONTENDERS if not (no_nginx and name == "nginx")]
    _check_machine(names)
    scenarios: Sequence[Scenario] = SCENARIOS
    if hosts or rate or mib:
        scenarios = [Scenario(hosts or 8, rate or "100mbit", mib or 64)]
    rows: list[Row] = []
    for scenario in scenarios:
        taking_part = [name for name in names if name != "nginx" or who or _quick(scenario)]
        rows += _measure(scenario, taking_part, origins, runs, keep_logs)
        if keep:
            save(rows, RESULTS)
    show(rows)


def _check_machine(names: Sequence[str]) -> None:
    missing = lacking("ip", "tc", "curl", *({"nginx"} & set(names)))
    if "libtorrent" in names and importlib.util.find_spec("libtorrent") is None:
        missing.append("libtorrent (dependency group bench)")
    if missing:
        raise click.ClickException(f"this machine lacks {', '.join(missing)}")


def _quick(scenario: Scenario) -> bool:
    return scenario.hosts * scenario.size * 8 / bits_per_s(scenario.rate) <= NGINX_S_MAX


def _measure(
    scenario: Scenario, names: Sequence[str], origins: int, runs: int, logs: Path | None
) -> Iterator[Row]:
    """All ``names`` in turn, ``runs`` times: a machine whose speed drifts treats them alike."""
    seeds = {name: 1 if name == "nginx" else origins for name in names}
    results: dict[str, list[Pulled]] = {name: [] for name in names}
    for number in range(runs):
        for name in names[:: -1 if number % 2 else 1]:
            kept = logs / f"{_title(scenario)}-{name}-{number}" if logs else None
            run = _run(scenario, name, seeds[name], kept)
            results[name].append(run)
            click.echo(f"{_title(scenario)} {name}: p99 {p99_s(run):.2f} s,"
                       f" bound {scenario.bound_s:.2f} s", err=True)  # fmt: skip
    for name in names:
        yield row(scenario, name, seeds[name], results[name])


def _title(scenario: Scenario) -> str:
    return f"{scenario.hosts}-{scenario.rate}-{scenario.mib}"


def _run(scenario: Scenario, name: str, seeds: int, logs: Path | None) -> Pulled:
    try:
        with lab(scenario.hosts + seeds) as made, _workplace() as root:
            blob, folder = root / "seed" / "blob", root / "run"
            folder.mkdir()
            digest = write_blob(blob, scenario.size, 7)
            try:
                return CONTENDERS[name](Ground(scenario, made, seeds, blob, digest, folder))
            finally:
                if logs is not None:
                    _keep(folder, logs)
    except Unavailable as busy:
        raise click.ClickException(str(busy)) from busy


@contextmanager
def _workplace() -> Iterator[Path]:
    """A temporary folder. As there is one lab at a time, others are of runs that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=FOLDERS) as folder:
        yield Path(folder)


def _keep(folder: Path, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    for path in [*folder.glob("*/log"), *folder.glob("*/status.json")]:
        shutil.copy(path, logs / f"{path.parent.name}-{path.name}")


if __name__ == "__main__":
    main()
