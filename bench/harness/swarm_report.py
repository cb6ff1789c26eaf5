"""The swarm's results as a table for people and as JSON for machines."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from harness.content import MIB
from harness.report import write
from harness.swarming import Row

COLUMNS = ("hosts", "rate", "MiB", "who", "origins", "p50 s", "p99 s", "max s", "bound s",
           "p99 / bound", "CPU-s/GiB", "origins' share", "wasted MiB")  # fmt: skip


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title="one blob to all hosts at once; of each contender the run of median p99")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "who" else "right")
    for row in rows:
        table.add_row(
            str(row.hosts), row.rate, str(row.mib), row.who, str(row.origins), f"{row.p50_s:.2f}",
            f"{row.p99_s:.2f}", f"{row.max_s:.2f}", f"{row.bound_s:.2f}",
            f"{row.p99_over_bound:.2f}", f"{row.cpu_s_per_gib:.2f}", f"{row.origin_share:.3f}",
            "" if row.wasted_bytes is None else f"{row.wasted_bytes / MIB:.1f}",
        )  # fmt: skip
    Console(width=140).print(table)


def save(rows: Sequence[Row], path: Path) -> None:
    """Write the list; rows that were not measured now keep what an earlier run gave."""
    old = msgspec.json.decode(path.read_bytes(), type=list[Row]) if path.exists() else []
    kept = {row.key: row for row in [*old, *rows]}
    write([kept[key] for key in sorted(kept)], path)
