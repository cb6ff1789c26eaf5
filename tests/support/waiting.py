"""Waiting for what the system promises to do soon."""

import asyncio
from collections.abc import Awaitable, Callable

POLL_S = 0.05


async def until(holds: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Ask again and again; fails with TimeoutError after ``within_s``."""
    async with asyncio.timeout(within_s):
        while True:
            if await holds():
                return
            await asyncio.sleep(POLL_S)
