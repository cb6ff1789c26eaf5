"""How long an image takes to pull in the moment after the first owner of its layer goes away."""

import asyncio
import math
import os
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import click

from harness.report import write
from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from support.images import image, pull, push
from support.production import Node, Production, Shape, production
from support.registry import Registry

RESULTS = Path(__file__).parent / "results" / "failover.json"
REPOSITORY = "bench/failover"
LAYER_BYTES = 3_000_000
SHAPE = Shape(origins=3, trackers=2, agents=1)


@dataclass(frozen=True)
class Row:
    """Pulls of new images, each by an agent that lacks it, with its first owner as ``owner`` says."""

    owner: str
    pulls: int
    p50_s: float
    p99_s: float
    max_s: float


WAYS = ("there", "killed", "stopped")


@asynccontextmanager
async def away(cluster: Production, owner: Node, way: str) -> AsyncIterator[None]:
    """``killed``: it refuses connections; ``stopped``: it takes them and says nothing, as a machine
    does that hangs. Afterwards it is back.
    """
    if way == "killed":
        owner.kill()
    elif way == "stopped":
        os.kill(owner.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if way == "killed":
            await cluster.start(owner)
        elif way == "stopped":
            os.kill(owner.pid, signal.SIGCONT)


async def pull_after(
    cluster: Production, session: aiohttp.ClientSession, seed: int, way: str
) -> float:
    """Push an image, let its layer's first owner go, and pull it; seconds of the pull alone."""
    pushed, tag = image(seed, LAYER_BYTES), f"v{seed}"
    await push(Registry(session, cluster.proxies[0].address), REPOSITORY, tag, pushed)
    ring = OriginCluster(cluster.http, [one.address for one in cluster.origins], 2)
    first = ring.owners(Digest.of(pushed.blobs[-1]))[0]
    (owner,) = [one for one in cluster.origins if one.address == first]
    async with away(cluster, owner, way):
        started = time.monotonic()
        await pull(Registry(session, cluster.agents[0].address), REPOSITORY, tag, pushed)
        return time.monotonic() - started


async def measure(pulls: int) -> list[Row]:
    """One cluster, and all ways one after another."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="octopull-bench-") as folder:
        async with (
            Http() as http,
            aiohttp.ClientSession(auto_decompress=False) as session,
            production(Path(folder), http, SHAPE) as cluster,
        ):
            for number, way in enumerate(WAYS):
                took_s = sorted(
                    [await pull_after(cluster, session, number * pulls + one, way)
                     for one in range(pulls)]
                )  # fmt: skip
                p99_s = took_s[math.ceil(0.99 * pulls) - 1]
                rows.append(Row(way, pulls, statistics.median(took_s), p99_s, took_s[-1]))
                click.echo(rows[-1])
    return rows


@click.command(epilog="Example: make bench-failover ARGS='--pulls 20'")
@click.option("--pulls", default=100, show_default=True, type=click.IntRange(1))
@click.option("--save/--no-save", "keep", default=True, help="Write the results file.")
def main(pulls: int, keep: bool) -> None:  # noqa: FBT001
    """Kill an owner, or stop it, and pull at once what it owns."""
    rows = asyncio.run(measure(pulls))
    if keep:
        write(rows, RESULTS)


if __name__ == "__main__":
    main()
