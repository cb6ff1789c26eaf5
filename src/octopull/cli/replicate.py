"""``octopull replicate``: how far remotes are behind, and making them agree with this cluster."""

import asyncio
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from octopull.cli import ready_file
from octopull.cli.calling import calling
from octopull.clients.replication import (
    Compared,
    Ended,
    RemoteProgress,
    ReplicationProgress,
    forget,
    progress,
    reconcile,
)  # fmt: skip

EPILOG = """\b
Examples:
  octopull replicate                           what each remote has yet to be told of
  octopull replicate --reconcile eu --dry-run  where the remote eu differs from this cluster
  octopull replicate --reconcile eu            ... and have it mended
  octopull replicate --forget eu               end all that eu was to be told of
"""


@click.command(epilog=EPILOG)
@click.option("--tag-index", default="127.0.0.1:5030", show_default=True, help="host:port")
@click.option("--cluster", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file written by 'up --ready-file'; says where the tag index is.")  # fmt: skip
@click.option("--reconcile", "compared", metavar="REMOTE", default="",
              help="Compare repositories, tags and digests with this remote, and have what "
                   "differs copied or deleted there.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what differs.")
@click.option("--overwrite", is_flag=True,
              help="Tags count as they are here, though they were moved at the remote later.")  # fmt: skip
@click.option("--forget", "forgotten", metavar="REMOTE", default="",
              help="End all tasks of this remote, such as one that left the rules.")  # fmt: skip
def replicate(
    tag_index: str, cluster: Path | None, compared: str, dry_run: bool, overwrite: bool,  # noqa: FBT001 - flags of the command line
    forgotten: str,
) -> None:  # fmt: skip
    """Say how far remotes are behind; compare one with this cluster, and mend what differs.

    The rules are in a file that the tag index is configured with.
    """
    if compared and forgotten:
        raise click.UsageError("either --reconcile or --forget")
    if (dry_run or overwrite) and not compared:
        raise click.UsageError("--dry-run and --overwrite are about --reconcile")
    host = tag_index
    if cluster is not None:
        host = ready_file.read(cluster, lambda found: str(found["tag_index"]))
    if compared:
        asyncio.run(_reconcile(host, compared, dry_run=dry_run, overwrite=overwrite))
    elif forgotten:
        click.echo(f"ended {asyncio.run(_forget(host, forgotten))} tasks of {forgotten}")
    else:
        show(Console(), asyncio.run(_progress(host)))


async def _progress(host: str) -> ReplicationProgress:
    async with calling() as http:
        return await progress(http, host)


async def _forget(host: str, remote: str) -> int:
    async with calling() as http:
        return await forget(http, host, remote)


async def _reconcile(host: str, remote: str, *, dry_run: bool, overwrite: bool) -> None:
    found: list[Compared] = []
    async with calling() as http:
        lines = reconcile(http, host, remote, dry_run=dry_run, overwrite=overwrite)
        async for line in lines:
            if isinstance(line, Ended):
                if line.failure:
                    raise click.ClickException(f"ended early: {line.failure}")
                break
            found.append(line)
            for sentence in _sentences(line):
                click.echo(sentence)
    click.echo(_summary(remote, found, dry_run=dry_run))


def _sentences(one: Compared) -> list[str]:
    """What differs in a repository."""
    return [
        *(f"{one.repository}:{tag} is lacking there" for tag in one.lacking),
        *(f"{one.repository}:{tag} stands for something else there" for tag in one.moved),
        *(f"{one.repository}:{tag} was deleted here" for tag in one.deleted),
        *(f"{one.repository}@{digest} is lacking there" for digest in one.referrers),
    ]


def _summary(remote: str, found: list[Compared], *, dry_run: bool) -> str:
    tags = sum(one.tags for one in found)
    differ = sum(len(_sentences(one)) for one in found)
    others = sum(one.only_there for one in found)
    did = "differ" if dry_run else "differ and will be mended"
    also = f"; {others} tags are only there" if others else ""
    return f"{remote}: {len(found)} repositories, {tags} tags, {differ} {did}{also}"


def show(console: Console, told: ReplicationProgress) -> None:
    """A row for each remote."""
    table = Table("remote", "to be told", "for", "failing")
    for one in told.remotes:
        waits = f"{one.oldest_s:.0f} s" if one.pending else ""
        table.add_row(escape(one.name), str(one.pending), waits, escape(_failing(one)))
    if table.row_count:
        console.print(table)
    if told.refused:
        console.print(f"the file of rules is wrong, older ones count: {escape(told.refused)}")


def _failing(one: RemoteProgress) -> str:
    return one.failing if one.ruled else "no longer in the rules"
