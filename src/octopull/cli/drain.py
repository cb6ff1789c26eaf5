"""``octopull origin drain``: wait until an origin can leave its cluster."""

import asyncio
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from octopull.clients.directory import Directory
from octopull.clients.draining import Left, left
from octopull.config import load
from octopull.config.services import OriginConfig
from octopull.http.addresses import addresses_by
from octopull.http.client import among_services
from octopull.kernel.errors import Misuse, Unavailable
from octopull.kernel.units import show_size
from octopull.runtime.tasks import Tasks
from octopull.security.roles import Role

LOOK_S = 5.0
EPILOG = """\b
Before, in the configuration of all origins, trackers, tag indexes and proxies:
  weights: {"origin-1:5010": 0}
and restart them one after the other. The others then fetch what origin-1 had to hold.
Where the ring is looked up, give origin-1 a higher SRV priority instead, or take it
out of the zone: nothing is restarted.
\b
Examples:
  octopull origin drain --config origin.yaml          on origin-1: ends when it may be stopped
  octopull origin drain --config origin.yaml --check  says how far it is, and exits with 1 if not yet
"""


@click.command(epilog=EPILOG)
@click.option("--config", "path", required=True,
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="That of the origin that is to leave.")  # fmt: skip
@click.option("--check", is_flag=True, help="Look once.")
def drain(path: Path, *, check: bool) -> None:
    """Wait until all that an origin holds is where it belongs without it."""
    config = load.load(OriginConfig, "origin", load.read(path), os.environ)
    if not asyncio.run(_drained(config, check=check)):
        raise SystemExit(1)
    click.echo(f"{config.name} may be stopped, and then taken from the lists")


async def _others(config: OriginConfig) -> list[str]:
    """Those that stay.

    Raises:
        Misuse: this one stays, too. Unavailable: DNS does not say who does.

    """
    directory = Directory(config.dns)
    members = directory.members("origins", config.origins, config.weights, me=config.name)
    async with Tasks() as tasks:
        await directory.follow(tasks)
    now = members.now
    others = [host for host in now.weighted if host != config.name]
    if not others and not members.fixed:
        raise Unavailable("DNS does not say who the origins are")
    if now.weights.get(config.name, 1) != 0:
        raise Misuse(f"{config.name or 'this origin'} has a weight: set it to 0 everywhere first, "
                     "see --help")  # fmt: skip
    return others


async def _drained(config: OriginConfig, *, check: bool) -> bool:
    """Whether it is; unless ``check``, returns only then."""
    console, host = Console(file=sys.stderr), config.name
    others = await _others(config)
    resolver = addresses_by(config.dns, config.origins)
    async with among_services(Role.ORIGIN, config.tls, resolver) as (_, http):
        with console.status(f"{host}: looking at what it holds") as status:
            while True:
                try:
                    found = await left(http, host, others)
                except Unavailable as fault:
                    if check:
                        raise
                    status.update(str(fault))
                    await asyncio.sleep(LOOK_S)
                    continue
                if not found.copies:
                    return True
                if check or not console.is_terminal:
                    click.echo(_sentence(host, found), err=True)
                if check:
                    return False
                status.update(_sentence(host, found))
                await asyncio.sleep(LOOK_S)


def _sentence(host: str, found: Left) -> str:
    return f"{host}: {found.copies} copies, {show_size(found.size)}, have yet to be fetched from it"
