"""How fast an origin whose disk was lost has its copies again, and whether pulls notice."""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import click

from harness.report import write
from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from support.images import Image, image, pull, push
from support.production import Node, Production, Shape, production
from support.registry import Registry
from support.waiting import until

RESULTS = Path(__file__).parent / "results" / "repair.json"
REPOSITORY = "bench/repair"
LAYER_BYTES = 8_000_000
LIMIT_BYTES_PER_S = 20_000_000
REPLICAS = 2
SETTLE_S = 1.0
RESTORED_S = 600.0


@dataclass(frozen=True)
class Row:
    """One disk lost: copies and bytes that its origin owns, and how long until it had them."""

    copies: int
    bytes: int
    limit_bytes_per_s: int
    bound_s: float
    took_s: float
    ratio: float
    pulls: int
    failed: int


class Lost:
    """A cluster, its images, and the origin that is to lose its disk."""

    def __init__(self, cluster: Production, images: list[Image]) -> None:
        self.cluster = cluster
        self.images = images
        self.origin: Node = cluster.origins[0]
        ring = OriginCluster(cluster.http, [one.address for one in cluster.origins], REPLICAS)
        blobs = {
            Digest.of(blob): len(blob) for one in images for blob in (*one.blobs, one.manifest)
        }
        self.owned = {
            digest: size for digest, size in blobs.items()
            if self.origin.address in ring.owners(digest)
        }  # fmt: skip
        self._alone = OriginCluster(cluster.http, [self.origin.address], 1)

    async def restored(self) -> None:
        """Until the origin itself has every blob that it owns."""
        for digest in self.owned:

            async def has(digest: Digest = digest) -> bool:
                try:
                    await self._alone.stat(REPOSITORY, digest)
                except NotFound:
                    return False
                return True

            await until(has, RESTORED_S)


async def pull_all_the_time(
    lost: Lost, session: aiohttp.ClientSession, ended: asyncio.Event
) -> tuple[int, int]:
    """How many pulls of whole images were tried through the proxy, and how many failed."""
    registry, pulls, failed = Registry(session, lost.cluster.proxies[0].address), 0, 0
    while not ended.is_set():
        number = pulls % len(lost.images)
        pulls += 1
        try:
            await pull(registry, REPOSITORY, f"v{number}", lost.images[number])
        except (AssertionError, aiohttp.ClientError) as error:
            failed += 1
            click.echo(f"not pulled: {str(error)[:200]}")
        await asyncio.sleep(0.2)
    return pulls, failed


async def measure(images: int, limit: int) -> Row:
    """Push, lose a disk, and wait."""
    repair = {"every_s": 5.0, "settle_s": SETTLE_S, "bytes_per_s": limit}
    shape = Shape(origins=3, agents=0, replicas=REPLICAS, origin={"repair": repair})
    with tempfile.TemporaryDirectory(prefix="octopull-bench-") as folder:
        async with (
            Http() as http,
            aiohttp.ClientSession(auto_decompress=False) as session,
            production(Path(folder), http, shape) as cluster,
        ):
            pushed = [image(number, LAYER_BYTES) for number in range(images)]
            for number, one in enumerate(pushed):
                registry = Registry(session, cluster.proxies[0].address)
                await push(registry, REPOSITORY, f"v{number}", one)
            await asyncio.sleep(2 * SETTLE_S)
            lost, ended = Lost(cluster, pushed), asyncio.Event()
            async with asyncio.TaskGroup() as group:
                pulling = group.create_task(pull_all_the_time(lost, session, ended))
                lost.origin.kill()
                lost.origin.wipe()
                await cluster.start(lost.origin)
                started = time.monotonic()
                await lost.restored()
                took_s = time.monotonic() - started
                ended.set()
            size = sum(lost.owned.values())
            bound_s = size / limit
            return Row(len(lost.owned), size, limit, bound_s, took_s, took_s / bound_s,
                       *pulling.result())  # fmt: skip


@click.command(epilog="Example: make bench-repair ARGS='--images 10'")
@click.option("--images", default=60, show_default=True, type=click.IntRange(1))
@click.option("--limit", default=LIMIT_BYTES_PER_S, show_default=True, help="bytes per second")
@click.option("--save/--no-save", "keep", default=True, help="Write the results file.")
def main(images: int, limit: int, keep: bool) -> None:  # noqa: FBT001
    """Wipe an origin's disk, start it again, and wait for its copies."""
    row = asyncio.run(measure(images, limit))
    click.echo(row)
    if keep:
        write([row], RESULTS)


if __name__ == "__main__":
    main()
