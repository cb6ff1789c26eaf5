"""What thousands of clients that send next to nothing cost all others, at the proxy and at an agent."""

import asyncio
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import aiohttp
import click

from harness import ours
from harness.report import write
from octopull.kernel.digest import Digest
from octopull.runtime.files import raise_file_limit
from support.images import image, push
from support.registry import Registry

RESULTS = Path(__file__).parent / "results" / "slowloris.json"
REPOSITORY, TAG = "bench/slowloris", "v1"
HEAD, MORE = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n", b"X-More: 1\r\n"
MORE_EVERY_S = 10.0
"""Each attacker's next header comes this long after the last: never a whole head."""

ADDRESSES = 250
"""That they come from: one address may not have so many connections."""

CLIENTS, ROUNDS = 4, 3
START_S = 120.0


@dataclass(frozen=True)
class Row:
    """Requests of four clients, half of them for a manifest, half for a small blob."""

    service: str
    slow_clients: int
    requests: int
    p50_ms: float
    p99_ms: float
    p99_over_normal: float


async def hold(host: str, port: int, connected: set[int], number: int) -> None:
    """Connect, again and again, and never send a whole request."""
    while True:
        try:
            _, writer = await asyncio.open_connection(
                host, port, local_addr=(f"127.0.0.{2 + number % ADDRESSES}", 0)
            )
        except OSError:
            await asyncio.sleep(MORE_EVERY_S)
            continue
        try:
            connected.add(number)
            writer.write(HEAD)
            while not writer.is_closing():
                await asyncio.sleep(MORE_EVERY_S)
                writer.write(MORE)
        finally:
            writer.transport.abort()


def attack(host: str, port: int, count: int, ready: Event, over: Event) -> None:
    """Hold ``count`` connections until ``over``; ``ready`` once each was there."""

    async def all_of_them() -> None:
        connected = set[int]()
        holding = [
            asyncio.create_task(hold(host, port, connected, number)) for number in range(count)
        ]
        while not over.is_set():
            if len(connected) == count:
                ready.set()
            await asyncio.sleep(0.2)
        for one in holding:
            one.cancel()
        await asyncio.gather(*holding, return_exceptions=True)

    raise_file_limit()
    asyncio.run(all_of_them())


@contextmanager
def attacked(address: str, count: int) -> Iterator[None]:
    """A process of its own attacks ``address``; the block begins when all its connections are there."""
    host, _, port = address.rpartition(":")
    context = multiprocessing.get_context("spawn")
    ready, over = context.Event(), context.Event()
    process = context.Process(target=attack, args=(host, int(port), count, ready, over))
    process.start()
    try:
        if not ready.wait(START_S):
            raise click.ClickException(f"not all of {count} connections were taken")
        yield
    finally:
        over.set()
        process.join()


async def asked(address: str, blob: str, requests: int) -> list[float]:
    """Seconds of each of so many requests."""
    took_s: list[float] = []

    async def client(paths: list[str]) -> None:
        async with aiohttp.ClientSession() as session:
            for path in paths:
                started = time.monotonic()
                async with session.get(f"http://{address}{path}") as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise click.ClickException(f"{path} was answered with {answer.status}")
                took_s.append(time.monotonic() - started)

    both = [f"/v2/{REPOSITORY}/manifests/{TAG}", f"/v2/{REPOSITORY}/blobs/{blob}"]
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(client(both * (requests // CLIENTS // 2)))
    return took_s


def p99(took_s: list[float]) -> float:
    """Of a sample."""
    return sorted(took_s)[math.ceil(0.99 * len(took_s)) - 1]


async def measure(service: str, address: str, blob: str, count: int, requests: int) -> list[Row]:
    """Turns without and with the attack; each figure is the median of its rounds."""
    await asked(address, blob, requests)
    normal: list[list[float]] = []
    harmed: list[list[float]] = []
    for _ in range(ROUNDS):
        normal.append(await asked(address, blob, requests))
        with attacked(address, count):
            harmed.append(await asked(address, blob, requests))
    usual_s = statistics.median(map(p99, normal))
    rows = []
    for slow_clients, rounds in ((0, normal), (count, harmed)):
        p99_s = statistics.median(map(p99, rounds))
        p50_s = statistics.median(map(statistics.median, rounds))
        rows.append(Row(service, slow_clients, requests * ROUNDS, round(p50_s * 1000, 2),
                        round(p99_s * 1000, 2), round(p99_s / usual_s, 2)))  # fmt: skip
        click.echo(rows[-1])
    return rows


async def measure_all(count: int, requests: int) -> list[Row]:
    """The proxy, then an agent."""
    with tempfile.TemporaryDirectory(prefix="octopull-bench-") as name:
        folder, pushed = Path(name), image(1, 3_000)
        with (
            ours.cluster(folder / "cluster") as cluster,
            ours.agent(folder / "a", cluster) as agent,
        ):
            blob = str(Digest.of(pushed.blobs[-1]))
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                proxy = cluster.proxy.removeprefix("http://")
                await push(Registry(session, proxy), REPOSITORY, TAG, pushed)
            return [
                *await measure("proxy", proxy, blob, count, requests),
                *await measure("agent", agent.url.removeprefix("http://"), blob, count, requests),
            ]


@click.command(epilog="Example: make bench-slowloris ARGS='--slow-clients 1000'")
@click.option("--slow-clients", "count", default=5000, show_default=True, type=click.IntRange(1))
@click.option("--requests", default=2000, show_default=True, type=click.IntRange(8),
              help="In each of the rounds.")  # fmt: skip
@click.option("--save/--no-save", "keep", default=True, help="Write the results file.")
def main(count: int, requests: int, keep: bool) -> None:  # noqa: FBT001
    """Hold thousands of connections that never send a whole request, and ask for images beside."""
    raise_file_limit()
    rows = asyncio.run(measure_all(count, requests))
    if keep:
        write(rows, RESULTS)


if __name__ == "__main__":
    main()
