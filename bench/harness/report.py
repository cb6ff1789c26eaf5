"""Results as a table for people and as JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from harness.pairs import Result


def show(results: Sequence[Result], title: str) -> None:
    """Print the table."""
    table = Table(title=title)
    for name in (
        "line",
        "octopull",
        "rival",
        "",
        "ratio",
        "aim",
        "CPU-s/GiB",
        "rival's",
        "RSS MiB",
    ):
        table.add_column(name, justify="left" if name in {"line", "", "aim"} else "right")
    for row in results:
        table.add_row(
            row.name, f"{row.ours:.4g} {row.unit}", f"{row.rival:.4g} {row.unit}", row.rival_name,
            f"{row.ratio:.3f}", row.aim, _number(row.ours_cpu_s_per_gib),
            _number(row.rival_cpu_s_per_gib), f"{row.ours_rss_mib:.0f}" if row.ours_rss_mib else "",
        )  # fmt: skip
    Console(width=140).print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def save(results: Sequence[Result], path: Path) -> None:
    """Write the list; lines that were not run now keep what an earlier run gave."""
    old = msgspec.json.decode(path.read_bytes(), type=list[Result]) if path.exists() else []
    write(list({row.name: row for row in [*old, *results]}.values()), path)


def write(rows: Sequence[Any], path: Path) -> None:
    """Write dataclass objects as a JSON list that reads well in a diff."""
    text = msgspec.json.encode([_rounded(row) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(text, indent=2) + b"\n")


def _rounded(row: Any) -> dict[str, object]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(row).items()
    }
