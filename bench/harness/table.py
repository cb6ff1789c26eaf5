"""A table of lines, run one after the other, each in a folder of its own."""

import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import click

from harness.pairs import Line, Result, measure
from harness.report import save, show


def run_all(
    lines: Sequence[Line], only: Collection[str], pairs: int, folder: Path | None,
    results: Path | None, title: str,
) -> None:  # fmt: skip
    """Run those named in ``only``, or all; keep what they gave in ``results``, and show it."""
    done: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="octopull-bench-", dir=folder) as root:
        for line in lines:
            if not only or line.name in only:
                done.append(_one(line, Path(root) / line.name, pairs))
                if results is not None:
                    save(done, results)
    show(done, title)


def _one(line: Line, folder: Path, pairs: int) -> Result:
    click.echo(f"{line.name}: {line.prepare.__doc__ or ''}".strip(": "), err=True)
    folder.mkdir()
    try:
        result = measure(line, folder, pairs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    click.echo(
        f"  {result.ours:.4g} against {result.rival:.4g} {result.unit}, ratio {result.ratio:.3f}",
        err=True,
    )
    return result
