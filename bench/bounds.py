"""Memory of an agent: a large blob over many connections, many idle swarms, a reader that stalls."""

import asyncio
import json
import random
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import click
import yaml

from harness import ours
from harness.content import write_blob
from harness.ours import Agent, Cluster
from harness.processes import peak_rss_mib, rss_mib
from harness.registry import push_file
from octopull.clients.tracker import AnnounceRequest, SwarmStatus, TrackerClient
from octopull.config.services import PeerSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.peers import PeerKind
from octopull.observability import logs
from octopull.observability.logs import LogFormat
from octopull.storage.disk import DiskStore
from octopull.swarm.messages import Handshake
from octopull.transport.node import PeerNode, limits_of
from octopull.transport.seeds import Seeds
from octopull.transport.swarm import Swarm

GIB = 1 << 30
CONNECTIONS = 50
SWARMS = 1000
SWARM_BLOB_BYTES = 300_000
PEER = {"listen": {"host": "127.0.0.1", "port": 0}, "dials_max": CONNECTIONS,
        "connections_max": CONNECTIONS + 2}  # fmt: skip
RESULTS = Path(__file__).parent / "results" / "bounds.json"


@asynccontextmanager
async def seeders(store: DiskStore, tracker: TrackerClient, digest: Digest) -> AsyncIterator[None]:
    """Seeds of one blob, each with a peer port of its own, that a tracker names to others."""
    settings, nodes = PeerSettings(), dict[Seeds, PeerNode]()
    metainfo = store.metainfo(digest)
    status = SwarmStatus(info_hash=metainfo.info_hash, digest=str(digest), namespace="bench",
                         complete=True, wants=0)  # fmt: skip
    async with AsyncExitStack() as stack:
        for number in range(CONNECTIONS):
            own = Seeds(store, limits_of(settings))

            async def find(theirs: Handshake, own: Seeds = own) -> Swarm | None:
                return await own.answer(nodes[own], theirs)

            node = PeerNode(settings, f"{number:040x}", PeerKind.AGENT, find, None)
            nodes[own] = await stack.enter_async_context(node)
            await tracker.announce(AnnounceRequest(peer=node.me, swarms=[status]))
        yield
        for own in nodes:
            own.close_all()


async def large(
    http: Http, folder: Path, cluster: Cluster, agent: Agent, digest: str
) -> dict[str, Any]:
    """Pull a large blob over 50 connections; the agent's peak memory."""
    store = DiskStore(folder / "cluster" / "data" / "origin")
    tracker = TrackerClient(http, [cluster.document["tracker"]])
    most, done = 0, asyncio.Event()
    async with seeders(store, tracker, Digest.parse(digest)):
        pull = asyncio.create_task(_fetch(http, agent, digest))
        pull.add_done_callback(lambda _: done.set())
        while not done.is_set():
            status = await http.json("GET", f"{agent.url}/status", dict)
            most = max([most, *(row["connections"] for row in status["blobs"])])
            await asyncio.sleep(0.1)
        await pull
    return {"name": "large", "connections": most, "peak_rss_mib": _peak(agent),
            "aim": "< 150 MiB"}  # fmt: skip


async def idle(http: Http, cluster: Cluster, agent: Agent) -> dict[str, Any]:
    """Memory that a thousand idle swarms add."""
    chance = random.Random(1)
    before, gate = rss_mib(agent.pid), asyncio.Semaphore(8)

    async def one(number: int) -> None:
        content = chance.randbytes(SWARM_BLOB_BYTES - number)
        digest = Digest.of(content)
        url = f"{cluster.proxy}/v2/idle/blobs/uploads/?digest={digest}"
        async with gate:
            await http.call("POST", url, data=content, timeout_s=60)
            await _fetch(http, agent, str(digest))

    for start in range(0, SWARMS, 50):
        await asyncio.gather(*(one(number) for number in range(start, start + 50)))
    status = await http.json("GET", f"{agent.url}/status", dict)
    seeding = sum(row["state"] == "seeding" for row in status["blobs"])
    # The buffers of the pulls go when the agent has been idle for a while.
    await asyncio.sleep(12)
    return {"name": "idle", "swarms": seeding, "added_rss_mib": round(rss_mib(agent.pid) - before, 1),
            "aim": "< 100 MiB"}  # fmt: skip


async def stalled(agent: Agent, digest: str) -> dict[str, Any]:
    """Memory that ten readers add which ask for all of a large blob and read nothing."""
    before = rss_mib(agent.pid)
    host, _, port = agent.url.removeprefix("http://").partition(":")
    readers = [socket.create_connection((host, int(port))) for _ in range(10)]
    for reader in readers:
        reader.sendall(f"GET /v2/bench/blobs/{digest} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    await asyncio.sleep(3)
    after = rss_mib(agent.pid)
    for reader in readers:
        reader.close()
    return {"name": "stalled", "readers": len(readers), "added_rss_mib": round(after - before, 1),
            "aim": "no piece in memory"}  # fmt: skip


async def _fetch(http: Http, agent: Agent, digest: str) -> None:
    async with http.stream("GET", f"{agent.url}/v2/bench/blobs/{digest}") as response:
        async for _ in response.content.iter_any():
            pass


def _peak(agent: Agent) -> float:
    return round(peak_rss_mib([agent.pid]), 1)


async def measure(folder: Path, gib: int) -> list[dict[str, Any]]:
    """All three: swarms in an agent of their own, so that neither hides in the other's peak."""
    with ExitStack() as stack:
        cluster = stack.enter_context(ours.cluster(folder / "cluster"))
        digest = write_blob(folder / "blob", gib * GIB, 9)
        push_file(cluster.proxy, "bench", folder / "blob", digest)
        async with Http() as http:
            with ours.agent(folder / "agent", cluster, peer=PEER) as agent:
                rows = [await large(http, folder, cluster, agent, digest)]
                rows.append(await stalled(agent, digest))
            with ours.agent(folder / "agent-2", cluster) as agent:
                rows.append(await idle(http, cluster, agent))
    return [{**row, "gib": gib} if row["name"] == "large" else row for row in rows]


@click.command()
@click.option("--gib", default=4, show_default=True, help="Size of the large blob.")
def main(gib: int) -> None:
    """Measure an agent's memory."""
    logs.configure("warning", LogFormat.TEXT)
    with tempfile.TemporaryDirectory(prefix="octopull-bench-") as folder:
        rows = asyncio.run(measure(Path(folder), gib))
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    click.echo(yaml.safe_dump(rows, sort_keys=False))


if __name__ == "__main__":
    main()
