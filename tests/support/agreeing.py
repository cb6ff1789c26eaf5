"""Tag indexes that share a book: which of them leads."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from octopull.http.client import Http
from octopull.kernel.errors import Fault
from support.production import Node
from support.waiting import POLL_S, until

SOON_S = 30.0


async def leader(http: Http, nodes: Sequence[Node]) -> Node:
    """The one of ``nodes`` that leads, once there is one."""
    async with asyncio.timeout(SOON_S):
        while True:
            for node in nodes:
                with suppress(Fault):
                    if (await state(http, node))["leads"]:
                        return node
            await asyncio.sleep(POLL_S)


async def all_count(http: Http, nodes: Sequence[Node], within_s: float) -> bool:
    """Whether each of ``nodes`` has all that was agreed on within that time, so that it counts."""

    async def count() -> bool:
        with suppress(Fault):
            return all([(await state(http, node))["counts"] for node in nodes])
        return False

    try:
        await until(count, within_s)
    except TimeoutError:
        return False
    return True


async def state(http: Http, node: Node) -> dict[str, Any]:
    """What one says of itself."""
    url = f"http://{node.address}/agreement"
    return await http.json("GET", url, dict[str, Any], timeout_s=1)
