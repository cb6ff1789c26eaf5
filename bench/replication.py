"""Two clusters whose link is cut under load: how long they take to agree once it is healed."""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import click

from harness.report import write
from octopull.cli.quantities import Duration, Rate, Size
from octopull.clients.registry import ACCEPT
from octopull.http.client import Http
from octopull.kernel.units import show_size
from support.cluster import up
from support.images import image, pull, push
from support.link import Link
from support.registry import Registry, digest_of
from support.replicating import rules, untold
from support.waiting import until

RESULTS = Path(__file__).parent / "results" / "replication.json"
REPOSITORY = "bench/app"
SHARED_EVERY = 10
"""Of so many pushes, one moves a tag that the other side moves, too."""

BEFORE_S = 10.0
AGREE_S = 3600.0


@dataclass(frozen=True)
class Row:
    """What was pushed on both sides while the link was cut, and what it took to bring it over."""

    cut_s: float
    pushes: int
    tags: int
    rate_bytes_per_s: int
    needed_bytes: int
    """Of the side that was behind more: blobs of tags as they stood when the link was healed."""
    sent_bytes: int
    """Towards that side, after the link was healed."""
    bound_s: float
    took_s: float
    ratio: float


@dataclass
class Site:
    """One cluster, and which image each of its tags was pushed with last, and when."""

    name: str
    cluster: dict[str, Any]
    proxy: Registry
    link: Link
    pushed: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    pushes: int = 0


@dataclass(frozen=True)
class Load:
    """An image of ``layer_bytes`` every ``every_s`` on each side, to ``tags`` tags in turn."""

    layer_bytes: int
    every_s: float
    tags: int

    async def run(self, site: Site, until_s: float) -> None:
        """Push on until then (monotonic)."""
        seeds = 1_000_000 if site.name == "a" else 2_000_000
        while (now_s := time.monotonic()) < until_s:
            seed = seeds + site.pushes
            shared = site.pushes % SHARED_EVERY == 0
            tag = "both" if shared else f"{site.name}{site.pushes % self.tags}"
            await push(site.proxy, REPOSITORY, tag, image(seed, self.layer_bytes))
            site.pushed[tag] = seed, time.monotonic()
            site.pushes += 1
            await asyncio.sleep(max(0.0, now_s + self.every_s - time.monotonic()))


async def tags_of(site: Site) -> dict[str, str]:
    """What every tag stands for."""
    found: dict[str, str] = {}
    for tag in (await site.proxy("GET", f"/v2/{REPOSITORY}/tags/list")).json["tags"]:
        told = await site.proxy("HEAD", f"/v2/{REPOSITORY}/manifests/{tag}", Accept=ACCEPT)
        found[tag] = told.headers["Docker-Content-Digest"]
    return found


async def check(sites: list[Site], load: Load) -> int:
    """That both have the same tags, each as it was pushed last, and all their bytes; how many."""
    a, b = [await tags_of(site) for site in sites]
    assert a == b
    last: dict[str, tuple[int, float]] = {}
    for site in sites:
        for tag, one in site.pushed.items():
            last[tag] = max(last.get(tag, one), one, key=lambda one: one[1])
    assert last.keys() == a.keys()
    for tag, (seed, _) in last.items():
        pushed = image(seed, load.layer_bytes)
        assert a[tag] == digest_of(pushed.manifest)
        for site in sites:
            await pull(site.proxy, REPOSITORY, tag, pushed)
    return len(a)


async def measure(load: Load, cut_s: float, rate: int, *, resets: bool) -> Row:
    """One run."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(Http())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        first, second = [await stack.enter_async_context(Link()) for _ in "ab"]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="octopull-bench-")))
        running = stack.enter_context(ExitStack())
        sites: list[Site] = []
        for name, own, other in (("a", first, second), ("b", second, first)):
            path = folder / f"{name}.yaml"
            # Pauses and deadlines as they are by default.
            to = {"url": f"http://{other.address}", "bytes_per_s": rate}
            rules(path, {"name": "other", **to}, deletes=True)
            words = ("--agents", "0", "--replication", str(path))
            cluster = running.enter_context(up(folder / name, *words))
            own.target = cluster["proxy"]
            sites.append(Site(name, cluster, Registry(session, cluster["proxy"]), own))
        return await cut_and_heal(http, sites, load, cut_s, rate, resets=resets)


async def cut_and_heal(
    http: Http, sites: list[Site], load: Load, cut_s: float, rate: int, *, resets: bool
) -> Row:
    """Load on both sides, before and while the link is cut; then how long they take to agree."""
    until_s = time.monotonic() + BEFORE_S + cut_s
    async with asyncio.TaskGroup() as group:
        for site in sites:
            group.create_task(load.run(site, until_s))
        await asyncio.sleep(BEFORE_S)
        cut_at = time.monotonic()
        for site in sites:
            site.link.cut(resets=resets)
    before = [site.link.sent_bytes for site in sites]
    healed_at = time.monotonic()
    for site in sites:
        site.link.heal()

    async def told() -> bool:
        return not any([await untold(http, site.cluster["tag_index"]) for site in sites])

    await until(told, AGREE_S)
    took_s = time.monotonic() - healed_at
    tags = await check(sites, load)
    needed = [
        load.layer_bytes * sum(at >= cut_at for _, at in site.pushed.values()) for site in sites
    ]
    sent = [site.link.sent_bytes - was for site, was in zip(sites, before, strict=True)]
    bound_s = max(needed) / rate
    return Row(
        cut_s=cut_s, pushes=sum(site.pushes for site in sites), tags=tags, rate_bytes_per_s=rate,
        needed_bytes=max(needed), sent_bytes=max(sent), bound_s=bound_s, took_s=took_s,
        ratio=took_s / bound_s,
    )  # fmt: skip


@click.command(epilog="Example: make bench-replication ARGS='--cut 30s'")
@click.option("--cut", "cut_s", default="10m", show_default=True, type=Duration())
@click.option("--layer", "layer_bytes", default="2MB", show_default=True, type=Size())
@click.option("--every", "every_s", default="2s", show_default=True, type=Duration())
@click.option("--tags", default=100, show_default=True, type=click.IntRange(1))
@click.option("--rate", default="4MB/s", show_default=True, type=Rate(),
              help="The limit of each remote.")  # fmt: skip
@click.option(
    "--resets", is_flag=True, help="Connections end when the link is cut; else they hang."
)
@click.option("--save/--no-save", "keep", default=True, help="Write the results file.")
def main(
    cut_s: float, layer_bytes: int, every_s: float, tags: int, rate: float,
    resets: bool, keep: bool,  # noqa: FBT001 - flags of the command line
) -> None:  # fmt: skip
    """Cut the link between two clusters under load, heal it, and wait until they agree."""
    load = Load(layer_bytes, every_s, tags)
    row = asyncio.run(measure(load, cut_s, int(rate), resets=resets))
    click.echo(row)
    click.echo(f"{show_size(row.needed_bytes)} in {row.took_s:.1f} s: {row.ratio:.2f} times the "
               f"{row.bound_s:.1f} s that they need at the limit")  # fmt: skip
    if keep:
        write([row], RESULTS)


if __name__ == "__main__":
    main()
