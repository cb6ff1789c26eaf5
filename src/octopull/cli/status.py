"""``octopull status``: which services answer, and what agents hold and fetch."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from octopull.cli import ready_file
from octopull.http.client import Http
from octopull.kernel.errors import Fault
from octopull.kernel.units import show_size


@click.command(epilog="Example: octopull status --proxy 127.0.0.1:5000 --agent 127.0.0.1:5101")
@click.option("--proxy", default="127.0.0.1:5000", show_default=True, help="host:port")
@click.option("--agent", "agents", multiple=True, default=["127.0.0.1:5101"], show_default=True,
              help="host:port; may be given several times.")  # fmt: skip
@click.option("--cluster", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file written by 'up --ready-file'; says where everything is.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def status(proxy: str, agents: tuple[str, ...], cluster: Path | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Say which services answer, and what the agents hold, fetch, and have from whom."""
    places = [("proxy", proxy), *(("agent", agent) for agent in agents)]
    if cluster is not None:
        places = ready_file.read(cluster, _places)
    rows = asyncio.run(_ask_all(places))
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


async def _ask_all(places: list[tuple[str, str]]) -> list[dict[str, Any]]:
    async with Http() as http:
        return list(await asyncio.gather(*(_ask(http, kind, at) for kind, at in places)))


async def _ask(http: Http, kind: str, address: str) -> dict[str, Any]:
    row: dict[str, Any] = {"service": kind, "address": address, "lacking": "", "agent": None}
    try:
        await http.call("GET", f"http://{address}/readiness", timeout_s=5)
        if kind == "agent":
            row["agent"] = await http.json("GET", f"http://{address}/status", dict[str, Any])
    except Fault as fault:
        row["lacking"] = str(fault)
    return row


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
