"""Fuzzes every target for a number of inputs, and says what was found."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from fuzz import corpus
from fuzz.servers import SERVERS, Server
from fuzz.targets import TARGETS, Target
from support.memory import folder_in_memory

ALL: dict[str, Target | Server] = {**TARGETS, **SERVERS}

INPUT_S_MAX, MEMORY_MIB_MAX = 1, 300
"""What one input may cost: seconds, and memory of the process, of which Python has a third."""

SERVERS_S_MAX = 20
"""The same where a process holds a cluster, which says itself when an answer took a second."""

INPUT_BYTES_MAX = 4096
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "fuzz.json"
_DONE = re.compile(r"Done (\d+) runs")
_COVERED = re.compile(r"cov: (\d+)")
_MEMORY = re.compile(r"rss: (\d+)Mb")


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What became of one target: ``found`` is what the fuzzer said last, if it found something."""

    target: str
    inputs: int
    seconds: float
    branches: int
    memory_mib: int
    found: str = ""


def fuzzed(name: str, count: int, seed: int, *, keep: bool) -> Fuzzed:
    """Try ``count`` inputs on a target."""
    seconds_max = SERVERS_S_MAX if name in SERVERS else INPUT_S_MAX
    with (
        tempfile.TemporaryDirectory(prefix="octopull-fuzz-") as folder,
        folder_in_memory() as temporary,
    ):
        for number, data in enumerate([*ALL[name].seeds, *corpus.load(name)]):
            (Path(folder) / f"{number}").write_bytes(data)
        words: list[str | Path] = [
            sys.executable, Path(__file__).with_name("fuzzer.py"), name,
            f"-runs={count}", f"-seed={seed}", f"-timeout={seconds_max}",
            f"-rss_limit_mb={MEMORY_MIB_MAX}", f"-max_len={INPUT_BYTES_MAX}",
            f"-artifact_prefix={tempfile.gettempdir()}/octopull-fuzz-", folder,
        ]  # fmt: skip
        started_s = time.monotonic()
        told = subprocess.run(
            words, capture_output=True, check=False, text=True, errors="replace",
            env={**os.environ, "TMPDIR": temporary},
        )  # fmt: skip
        seconds = time.monotonic() - started_s
        if keep and told.returncode == 0:
            corpus.keep(name, (path.read_bytes() for path in Path(folder).iterdir()))
    done = _DONE.search(told.stderr)
    fine = told.returncode == 0 and done is not None
    return Fuzzed(
        target=name, inputs=int(done[1]) if done else 0, seconds=round(seconds, 1),
        branches=_last(_COVERED, told.stderr), memory_mib=_last(_MEMORY, told.stderr),
        found="" if fine else told.stdout[-2000:] + told.stderr[-2000:],
    )  # fmt: skip


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.findall(text)
    return int(found[-1]) if found else 0


def show(results: Sequence[Fuzzed]) -> None:
    """Print a table, and what was found."""
    table = Table(title="inputs tried", show_edge=False)
    for name in ("target", "inputs", "seconds", "branches", "MiB", "found"):
        table.add_column(name, justify="left" if name == "target" else "right")
    for one in results:
        table.add_row(one.target, f"{one.inputs:,}", f"{one.seconds}", str(one.branches),
                      str(one.memory_mib), "something" if one.found else "")  # fmt: skip
    table.add_row("all", f"{sum(one.inputs for one in results):,}")
    Console(width=100).print(table)
    for one in results:
        if one.found:
            click.echo(f"\n{one.target}:\n{one.found}")


@click.command(epilog="Example: make fuzz ARGS='--target manifest --inputs 1000000'")
@click.option("--inputs", default=20_000, show_default=True, help="For each target.")
@click.option("--target", "names", multiple=True, type=click.Choice(list(ALL)),
              help="Only these.")  # fmt: skip
@click.option("--seed", default=1, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Targets at once.")
@click.option("--keep", is_flag=True, help="Keep inputs that lead further, in tests/fuzz/corpus.")
@click.option("--write", is_flag=True, help="Write them into bench/results/fuzz.json.")
def main(
    inputs: int, names: tuple[str, ...], seed: int, jobs: int, *, keep: bool, write: bool
) -> None:
    """Have parsers read what nobody would send, and see that they say so."""
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(fuzzed, name, inputs, seed, keep=keep) for name in names or ALL]
        results = [one.result() for one in running]
    show(results)
    if write:
        kept = {one["target"]: one for one in msgspec.json.decode(RESULTS.read_bytes())}
        kept |= {one.target: asdict(one) for one in results}
        encoded = msgspec.json.encode(list(kept.values()))
        RESULTS.write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    raise SystemExit(any(one.found for one in results))


if __name__ == "__main__":
    main()
