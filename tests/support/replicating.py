"""Rules of replication in files, and waiting until remotes have been told of everything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.replication import progress
from octopull.config.replication import ReplicationSettings
from octopull.http.client import Http
from support.chaos.forks import Forks
from support.link import Link
from support.production import Production, Shape, planned
from support.waiting import until

REPLICATED_S = 60.0
CHECK_S = 0.05


def remote(name: str, url: str, **more: Any) -> dict[str, Any]:
    """A remote that is soon asked again when it has failed."""
    return {
        "name": name,
        "url": url,
        "retry_s": 0.05,
        "retry_s_max": 0.2,
        "timeout_s": 10.0,
        **more,
    }


def rules(path: Path, *remotes: dict[str, Any], **more: Any) -> ReplicationSettings:
    """A file by which all repositories go to all ``remotes``; ``more`` is said in the rule."""
    rule = {"match": ".*", "remotes": [one["name"] for one in remotes], **more}
    return written(path, {"remotes": list(remotes), "rules": [rule]})


def written(path: Path, document: object) -> ReplicationSettings:
    """A file of rules, put in its place as a whole."""
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(yaml.safe_dump(document))
    partial.replace(path)
    return ReplicationSettings(rules=str(path), check_s=CHECK_S)


async def untold(http: Http, tag_index: str) -> int:
    """How many tasks for its remotes the tag index has."""
    return sum(one.pending for one in (await progress(http, tag_index)).remotes)


async def replicated(http: Http, tag_index: str, within_s: float = REPLICATED_S) -> None:
    """Until the tag index has nothing left to tell its remotes."""

    async def done() -> bool:
        return not await untold(http, tag_index)

    await until(done, within_s)


@asynccontextmanager
async def behind_link(folder: Path) -> AsyncIterator[tuple[Cluster, Link]]:
    """A cluster in this process, and a link to its proxy."""
    async with (
        running(folder, 0, Ports(0, "127.0.0.1")) as cluster,
        Link(cluster.proxy.address) as link,
    ):
        yield cluster, link


@asynccontextmanager
async def replicating(
    folder: Path, http: Http, shape: Shape, settings: ReplicationSettings, forks: Forks
) -> AsyncIterator[Production]:
    """A cluster of processes, whose tag indexes tell remotes by ``settings``."""
    cluster = planned(folder, http, shape, forks.place)
    for index in cluster.tag_indexes:
        index.settings["replication"] = asdict(settings)
    try:
        await cluster.start(*cluster.nodes)
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            node.stop()
