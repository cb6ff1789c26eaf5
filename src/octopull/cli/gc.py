"""``octopull gc``: have the origins forget what no manifest leads to."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.status import Status

from octopull.cli import ready_file
from octopull.cli.calling import calling
from octopull.cli.quantities import Duration
from octopull.clients.collection import Line, Looked, Swept, collect
from octopull.kernel.units import show_size

EPILOG = """\b
Examples:
  octopull gc --dry-run                        what would go, from 'octopull up'
  octopull gc --tag-index tag-index-1:5030     collect, with the configured grace time
  octopull gc --cluster ready.json --grace 2h  what nobody pushed or found for two hours
"""


@click.command(epilog=EPILOG)
@click.option("--tag-index", default="127.0.0.1:5030", show_default=True, help="host:port")
@click.option("--cluster", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file written by 'up --ready-file'; says where the tag index is.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Name what would go, and leave it.")
@click.option("--grace", "grace_s", type=Duration(),
              help="Leave blobs pushed or found this lately, such as 24h.  [default: as the tag "
                   "index is configured]")  # fmt: skip
def gc(tag_index: str, cluster: Path | None, dry_run: bool, grace_s: float | None) -> None:  # noqa: FBT001 - a flag of the command line
    """Collect garbage: blobs that no manifest of any repository refers to.

    Safe while clients push. Blobs pushed through Kraken's API stay until they are deleted there.
    """
    host = tag_index
    if cluster is not None:
        host = ready_file.read(cluster, lambda found: str(found["tag_index"]))
    if not asyncio.run(_collect(host, grace_s, dry_run=dry_run)):
        raise SystemExit(1)


async def _collect(host: str, grace_s: float | None, *, dry_run: bool) -> bool:
    """Whether all origins were done."""
    async with calling() as http:
        with _showing() as status:
            swept = await _show(collect(http, host, grace_s=grace_s, dry_run=dry_run),
                                status, dry_run=dry_run)  # fmt: skip
    for one in swept:
        click.echo(_sentence(one, dry_run=dry_run))
        if one.failure:
            click.echo(f"{one.origin}: ended early: {one.failure}", err=True)
    return not any(one.failure for one in swept)


async def _show(lines: AsyncIterator[Line], status: Status | None, *, dry_run: bool) -> list[Swept]:
    looked_at, swept = 0, list[Swept]()
    async for line in lines:
        if isinstance(line, Looked):
            looked_at += line.looked_at
            if status is not None:
                status.update(f"{line.origin}: looked at {looked_at} blobs")
            for blob in line.gone if dry_run else []:
                click.echo(f"{blob.digest} {show_size(blob.size)} at {line.origin}")
        elif isinstance(line, Swept):
            looked_at = 0
            swept.append(line)
    return swept


def _sentence(one: Swept, *, dry_run: bool) -> str:
    did = "would collect" if dry_run else "collected"
    kept = f", kept back {one.kept_back}" if one.kept_back else ""
    return (
        f"{one.origin}: looked at {one.looked_at} blobs, {did} {one.collected} "
        f"of {show_size(one.bytes)}{kept}"
    )


@contextmanager
def _showing() -> Iterator[Status | None]:
    """How far it is, on a terminal's standard error until the block ends."""
    if not sys.stderr.isatty():
        yield None
        return
    with Console(stderr=True, highlight=False).status("collecting") as status:
        yield status
