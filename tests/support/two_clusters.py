"""Two clusters in this process that replicate to each other, over links that can be cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.registry import ACCEPT
from octopull.http.client import Http
from support.link import Link
from support.registry import Registry
from support.replicating import remote, rules, untold

PORTS = Ports(0, "127.0.0.1")


@dataclass(frozen=True)
class Site:
    """A cluster, its proxy, and the link by which the other one reaches it."""

    cluster: Cluster
    proxy: Registry
    link: Link

    async def tags(self) -> dict[str, str]:
        """What every tag of every repository stands for."""
        found: dict[str, str] = {}
        for repository in (await self.proxy("GET", "/v2/_catalog")).json["repositories"]:
            answer = await self.proxy("GET", f"/v2/{repository}/tags/list")
            for tag in answer.json["tags"]:
                path = f"/v2/{repository}/manifests/{tag}"
                told = await self.proxy("HEAD", path, Accept=ACCEPT)
                found[f"{repository}:{tag}"] = told.headers["Docker-Content-Digest"]
        return found


@asynccontextmanager
async def two_clusters(folder: Path, **more: Any) -> AsyncIterator[tuple[Site, Site]]:
    """Each replicates everything to the other; ``more`` is said of each remote."""
    async with Link() as to_a, Link() as to_b, aiohttp.ClientSession() as session:
        at_a = rules(folder / "a.yaml", remote("b", f"http://{to_b.address}", **more), deletes=True)
        at_b = rules(folder / "b.yaml", remote("a", f"http://{to_a.address}", **more), deletes=True)
        async with (
            running(folder / "a", 0, PORTS, replication=at_a) as a,
            running(folder / "b", 0, PORTS, replication=at_b) as b,
        ):
            to_a.target, to_b.target = a.proxy.address, b.proxy.address
            yield (
                Site(a, Registry(session, a.proxy.address), to_a),
                Site(b, Registry(session, b.proxy.address), to_b),
            )


async def agreed(http: Http, *sites: Site) -> bool:
    """Whether nobody has anything left to tell, and all tags stand for the same."""
    indexes = [site.cluster.tag_index.address for site in sites]
    if any([await untold(http, one) for one in indexes]):
        return False
    first, *others = await asyncio.gather(*(site.tags() for site in sites))
    return all(one == first for one in others)
