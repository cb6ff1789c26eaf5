"""``octopull replay``: what a swarm decided, decided again."""

from pathlib import Path

import click

from octopull.kernel.errors import Fault
from octopull.observability.journal import replay as replay_file


@click.command(epilog="Example: octopull replay /var/lib/octopull/journal/*.jsonl")
@click.argument("files", nargs=-1, required=True, metavar="FILE...",
                type=click.Path(exists=True, dir_okay=False, path_type=Path))  # fmt: skip
def replay(files: tuple[Path, ...]) -> None:
    """Tell a new swarm core what each journal FILE holds; exit 1 if one decides otherwise.

    Journals are written by agents and origins whose setting peer.journal names a folder.
    """
    failed = False
    for path in files:
        try:
            click.echo(f"{path}: {replay_file(path)} events agree")
        except Fault as fault:
            failed = True
            click.echo(f"{path}: {fault}")
    if failed:
        raise SystemExit(1)
