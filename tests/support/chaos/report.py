"""Runs in a table for people, and all together as JSON for machines."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from support.chaos.availability import summed
from support.chaos.trial import Told

FOUND = ("lost", "wrong", "anomalies", "missed", "unrepaired", "differing", "broken")


def show(runs: Sequence[Told]) -> None:
    """Print the tables."""
    table = Table(title="runs", show_edge=False)
    for name in ("seed", "seconds", "operations", "mishaps", *FOUND):
        table.add_column(name, justify="right")
    for one in runs:
        found = [str(len(getattr(one.verdict, kind)) or "") for kind in FOUND]
        table.add_row(str(one.seed), f"{one.length_s:.0f}", str(one.operations.total()),
                      str(one.mishaps.total()), *found)  # fmt: skip
    console = Console(width=110)
    console.print(table)
    shares = Table(title="requests of pulls of images that no agent had", show_edge=False)
    for name in ("while", "asked", "answered"):
        shares.add_column(name, justify="left" if name == "while" else "right")
    for name, total in summed(run.available for run in runs).items():
        shares.add_row(name, str(total.asked), f"{total.share:.2%}")
    console.print(shares)


def document(runs: Sequence[Told]) -> dict[str, Any]:
    """All of them in one."""
    operations, mishaps = Counter[str](), Counter[str]()
    for one in runs:
        operations.update(one.operations)
        mishaps.update(one.mishaps)
    return {
        "seeds": [one.seed for one in runs],
        "seconds": round(sum(one.length_s for one in runs)),
        **{kind: sum(len(getattr(one.verdict, kind)) for one in runs) for kind in FOUND},
        "seeds_with_findings": [one.seed for one in runs if not one.verdict.good],
        "operations": dict(sorted(operations.items())),
        "mishaps": dict(sorted(mishaps.items())),
        "available": {
            name: {"asked": total.asked, "fine": total.fine, "share": round(total.share, 4)}
            for name, total in summed(run.available for run in runs).items()
        },
    }


def write(runs: Sequence[Told], path: Path) -> None:
    """As JSON that reads well in a diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document(runs)), indent=2) + b"\n")
