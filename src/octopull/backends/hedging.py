"""Two reads of the same bytes, of which the one that answers first counts.

Dean and Barroso, "The Tail at Scale" (2013): hedged requests.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from octopull.kernel.errors import Fault

Body = AsyncGenerator[bytes, None]
First = Callable[[Body], Awaitable[bytes | None]]
"""A body's next bytes in time, None at its end."""


async def quickest(
    begin: Callable[[], Body], first: First, hedge_s: float
) -> tuple[Body, bytes | None]:
    """A body and its first bytes; a second is begun if there are none after ``hedge_s`` (0: never).

    A read that fails does not decide, if the other may still succeed.

    Raises:
        as ``first``, if all fail.

    """
    bodies: dict[asyncio.Future[bytes | None], Body] = {}

    def ask() -> None:
        body = begin()
        bodies[asyncio.ensure_future(first(body))] = body

    try:
        ask()
        if hedge_s and not (await asyncio.wait(bodies, timeout=hedge_s))[0]:
            ask()
        waiting = set(bodies)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if one.exception() is None:
                    return bodies.pop(one), one.result()
        return bodies[next(iter(bodies))], next(iter(bodies)).result()
    finally:
        await _abandon(bodies)


async def _abandon(bodies: dict[asyncio.Future[bytes | None], Body]) -> None:
    for one in bodies:
        one.cancel()
    await asyncio.gather(*bodies, return_exceptions=True)
    for body in bodies.values():
        with suppress(Fault):
            await body.aclose()
