"""Storage that others run: what going through octopull costs, and how soon all hosts have a blob."""

from pathlib import Path

import click

from harness import rivals
from harness.table import run_all
from lines import refreshing, storing
from support import netns

LINES = [*storing.LINES, *refreshing.LINES]
RESULTS = Path(__file__).parent / "results" / "backends.json"


@click.command(epilog="Example: make bench-backends ARGS='--only backend-get'")
@click.option("--only", multiple=True, type=click.Choice([line.name for line in LINES]),
              help="Run this line; may be repeated. Without it, all.")  # fmt: skip
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(1))
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              help="Where to work; 15 GB of a local disk. Without it, a temporary folder.")  # fmt: skip
@click.option("--save/--no-save", "keep", default=True, help="Write the results file.")
def main(only: tuple[str, ...], pairs: int, folder: Path | None, keep: bool) -> None:  # noqa: FBT001
    """Measure backends; as root, with 8 GB of memory for the server's files."""
    missing = [*rivals.lacking("sha256sum", "nginx"), *netns.lacking()]
    if missing:
        raise click.ClickException(f"this machine lacks {', '.join(missing)}")
    run_all(LINES, only, pairs, folder, RESULTS if keep else None,
            "octopull and storage that others run; medians, and the median of the pairs' ratios")  # fmt: skip


if __name__ == "__main__":
    main()
