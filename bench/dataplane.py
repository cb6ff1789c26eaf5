"""The byte's way through octopull, step by step, each against the best a user would run instead.

Each line runs octopull and its rival in turn and gives medians. Ratios are what counts:
seconds are this machine's.
"""

from pathlib import Path

import click

from harness import rivals
from harness.table import run_all
from lines import (
    announcing,
    images,
    limiting,
    listing,
    peering,
    pulling,
    pushing,
    remembering,
    serving,
)  # fmt: skip

LINES = [
    *serving.LINES, *pulling.LINES, *pushing.LINES, *announcing.LINES, *images.LINES,
    *limiting.LINES, *peering.LINES, *listing.LINES, *remembering.LINES,
]  # fmt: skip
NEEDS = ("nginx", "docker-registry", "curl", "sha256sum", "skopeo", "ctr", "containerd", "ip",
         "tc", "openssl", "redis-server")  # fmt: skip
RESULTS = Path(__file__).parent / "results" / "dataplane.json"


@click.command(epilog="Example: make bench-dataplane ARGS='--only serve --only push-raw'")
@click.option("--only", multiple=True, type=click.Choice([line.name for line in LINES]),
              help="Run this line; may be repeated. Without it, all.")  # fmt: skip
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(1))
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              help="Where to work; 25 GB of a local disk. Without it, a temporary folder.")  # fmt: skip
@click.option("--save/--no-save", "keep", default=True, help="Write the results file.")
def main(only: tuple[str, ...], pairs: int, folder: Path | None, keep: bool) -> None:  # noqa: FBT001
    """Measure the data path."""
    missing = rivals.lacking(*NEEDS)
    if missing:
        raise click.ClickException(f"this machine lacks {', '.join(missing)}")
    run_all(LINES, only, pairs, folder, RESULTS if keep else None,
            "octopull's data path; medians, and the median of the pairs' ratios")  # fmt: skip


if __name__ == "__main__":
    main()
