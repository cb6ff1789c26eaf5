"""``octopull status``: which services answer, what agents hold, and what is yet to be written."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from octopull.backends.authorization import Purpose
from octopull.cli import ready_file, replicate
from octopull.cli.calling import calling
from octopull.cli.credentials import credentials_option
from octopull.clients import replication
from octopull.clients.membership import members_of
from octopull.clients.registry_login import RegistryLogin
from octopull.clients.write_back import progress
from octopull.http.client import Http
from octopull.kernel.errors import Fault, NotFound, Unauthenticated
from octopull.kernel.units import show_size

WRITERS = {"origin", "tag index"}


@click.command(epilog="Example: octopull status --proxy 127.0.0.1:5000 --agent 127.0.0.1:5101")
@click.option("--proxy", default="127.0.0.1:5000", show_default=True, help="host:port")
@click.option("--agent", "agents", multiple=True, default=["127.0.0.1:5101"], show_default=True,
              help="host:port; may be given several times.")  # fmt: skip
@click.option("--origin", "origins", multiple=True, help="host:port; may be given several times.")
@click.option("--tag-index", "tag_indexes", multiple=True,
              help="host:port; may be given several times.")  # fmt: skip
@click.option("--cluster", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file written by 'up --ready-file'; says where everything is.")  # fmt: skip
@credentials_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def status(
    proxy: str, agents: tuple[str, ...], origins: tuple[str, ...], tag_indexes: tuple[str, ...],
    cluster: Path | None, credentials: str, as_json: bool,  # noqa: FBT001 - a flag of the command line
) -> None:  # fmt: skip
    """Say which services answer, whom they find down, what the agents hold, fetch, and have from whom, and what has
    yet to reach which backend or remote.
    """
    places = [
        ("proxy", proxy),
        *(("tag index", host) for host in tag_indexes),
        *(("origin", host) for host in origins),
        *(("agent", agent) for agent in agents),
    ]
    if cluster is not None:
        places = ready_file.read(cluster, _places)
    rows = asyncio.run(_ask_all(places, credentials))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _show(rows)
    if any(row["lacking"] for row in rows):
        raise SystemExit(1)


def _places(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("proxy", found["proxy"]),
        ("tag index", found["tag_index"]),
        ("tracker", found["tracker"]),
        *(("origin", origin) for origin in found["origins"]),
        *(("agent", agent["http"]) for agent in found["agents"]),
    ]


async def _ask_all(places: list[tuple[str, str]], credentials: str) -> list[dict[str, Any]]:
    async with calling() as http:
        return list(
            await asyncio.gather(*(_ask(http, kind, at, credentials) for kind, at in places))
        )


async def _ask(http: Http, kind: str, address: str, credentials: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "service": kind, "address": address, "lacking": "", "agent": None, "write_back": None,
        "replication": None, "down": [],
    }  # fmt: skip
    if kind != "agent":
        row["down"] = await _down(http, address)
    try:
        await http.call("GET", f"http://{address}/readiness", timeout_s=5)
        if kind == "agent":
            row["agent"] = await _of_agent(http, f"http://{address}", credentials)
        if kind in WRITERS:
            row["write_back"] = await _unwritten(http, address)
        if kind == "tag index":
            row["replication"] = msgspec.to_builtins(await replication.progress(http, address))
    except Fault as fault:
        row["lacking"] = str(fault)
    return row


async def _down(http: Http, address: str) -> list[str]:
    """Whom the service finds down. It may well tell that when it is not ready."""
    try:
        told = await members_of(http, address)
    except Fault:
        return []
    return sorted({one.host for members in told.values() for one in members if not one.up})


async def _of_agent(http: Http, agent: str, credentials: str) -> dict[str, Any]:
    """What an agent does, which some tell to administrators alone."""
    url = f"{agent}/status"
    try:
        return await http.json("GET", url, dict[str, Any])
    except Unauthenticated as refusal:
        login = RegistryLogin(http, agent, credentials)
        proof = await login.prove(refusal, "", Purpose.PULL, {})
    reply = await http.call("GET", url, headers=proof)
    found: dict[str, Any] = json.loads(reply.body)
    return found


async def _unwritten(http: Http, address: str) -> dict[str, Any] | None:
    """What has yet to reach a backend; None where there is nothing of the kind."""
    try:
        found = await progress(http, address, timeout_s=5)
    except NotFound:
        return None
    return msgspec.structs.asdict(found) | {
        "backends": [msgspec.structs.asdict(one) for one in found.backends]
    }


def _show(rows: list[dict[str, Any]]) -> None:
    console = Console()
    table = Table("service", "address", "state", "blobs", "received", "sent")
    for row in rows:
        agent = row["agent"] or {}
        received = sum(one["bytes"] for one in agent.get("received", []))
        table.add_row(
            row["service"], row["address"], row["lacking"] or "ready",
            str(len(agent["blobs"])) if agent else "", show_size(received) if agent else "",
            show_size(agent["sent_bytes"]) if agent else "",
        )  # fmt: skip
    console.print(table)
    for row in rows:
        if row["down"]:
            console.print(
                f"{row['address']} ({row['service']}) finds down: {', '.join(row['down'])}"
            )
    _show_unwritten(console, rows)
    for row in rows:
        if row["replication"]:
            told = msgspec.convert(row["replication"], replication.ReplicationProgress)
            replicate.show(console, told)


def _show_unwritten(console: Console, rows: list[dict[str, Any]]) -> None:
    """One row for each backend of each service; nothing where there are none."""
    table = Table("backend", "of", "to be written", "for", "failing")
    for row in rows:
        told = row["write_back"] or {"backends": [], "oldest_s": 0.0}
        for one in told["backends"]:
            waits = f"{told['oldest_s']:.0f} s" if one["pending"] else ""
            table.add_row(
                escape(one["name"]), row["address"], str(one["pending"]), waits,
                escape(one["failing"]),
            )  # fmt: skip
    if table.row_count:
        console.print(table)
