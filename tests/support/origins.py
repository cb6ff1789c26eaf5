"""Several origins in one ring, each to be started and stopped by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from octopull.clients.origin import OriginCluster
from octopull.config.services import Listen, OriginConfig
from octopull.http.client import Http
from octopull.http.serving import Listening
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.services.origin.app import run


@asynccontextmanager
async def origin(
    folder: Path, name: str, ring: list[str], replicas: int, **settings: Any
) -> AsyncIterator[None]:
    """An origin of that name, and its data in ``folder/name``."""
    config = OriginConfig(
        data=str(folder / name), name=name, origins=ring, replicas=replicas,
        listen=Listen(port=int(name.rpartition(":")[2])), **settings,
    )  # fmt: skip
    started: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(run(config, started.set_result, stop))
    await started
    try:
        yield
    finally:
        stop.set()
        await task


async def holders(http: Http, ring: list[str], digest: Digest) -> set[str]:
    """Which hosts of ``ring`` have the blob; they must all answer."""
    found = set()
    for host in ring:
        try:
            await OriginCluster(http, [host], 1).stat("ns", digest)
            found.add(host)
        except NotFound:
            pass
    return found
