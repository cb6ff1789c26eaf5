"""``octopull quotas``: how full they are."""

import asyncio
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from octopull.cli import ready_file
from octopull.cli.calling import calling
from octopull.clients.quotas import QuotaUses, uses
from octopull.kernel.units import show_size

EPILOG = """\b
Examples:
  octopull quotas                              of 'octopull up'
  octopull quotas --tag-index tag-index-1:5030
  octopull quotas --cluster ready.json --json
"""


@click.command(epilog=EPILOG)
@click.option("--tag-index", default="127.0.0.1:5030", show_default=True, help="host:port")
@click.option("--cluster", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file written by 'up --ready-file'; says where the tag index is.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def quotas(tag_index: str, cluster: Path | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Show how much namespaces may hold, and how much of that is used, measured now."""
    host = tag_index
    if cluster is not None:
        host = ready_file.read(cluster, lambda found: str(found["tag_index"]))
    found = asyncio.run(_ask(host))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        _show(found)


async def _ask(host: str) -> QuotaUses:
    async with calling() as http:
        return await uses(http, host)


def _show(found: QuotaUses) -> None:
    table = Table("quota", "repositories", "used", "of", "left", "%")
    for one in found.quotas:
        share = f"{100 * one.used / one.limit:.0f}" if one.limit else "-"
        left = show_size(max(one.limit - one.used, 0))
        patterns = escape(", ".join(one.repositories))
        table.add_row(one.name, patterns, show_size(one.used), show_size(one.limit), left, share)
    Console(highlight=False).print(table if found.quotas else "there are no quotas")
    if found.unknown:
        click.echo("the sizes of some blobs are still being looked up: more is used than that")
