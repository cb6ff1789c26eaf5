"""One service at a time, in this process, to be stopped and started again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from octopull.cli.serve import Run
from octopull.http.serving import Listening


@asynccontextmanager
async def started(run: Run, config: object) -> AsyncIterator[Listening]:
    """The service until the block ends."""
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def serve() -> None:
        try:
            await run(config, ready.set_result, stop)
        finally:
            ready.cancel()

    async with asyncio.TaskGroup() as group:
        group.create_task(serve())
        yield await ready
        stop.set()
