"""One call to whichever host of a cluster answers."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from octopull.http.client import SILENT
from octopull.kernel.errors import Fault, NotFound, Pending, Unavailable, UpstreamFailed
from octopull.placement.health import Health

T = TypeVar("T")
HEDGE_S = 1.0
"""A host that hangs would else be waited for until its deadline, which is many times as long."""

DOWN_S = 3.0
"""So long a host is waited for that checks found down, while others are up: it may be wrong."""


async def first(hosts: Sequence[str], health: Health, call: Callable[[str], Awaitable[T]]) -> T:
    """The answer of the first host of ``hosts`` that is up, healthy ones first.

    Raises:
        Unavailable: none is.
        Pending, UpstreamFailed: as the first one says; others would say the same.
        Fault: what the answering host refused with.

    """
    reasons: list[str] = []
    public: object = SILENT
    for host in health.order(hosts, time.monotonic()):
        try:
            answer = await call(host)
        except (Pending, UpstreamFailed):
            health.passed(host)
            raise
        except Unavailable as fault:
            health.failed(host, time.monotonic())
            reasons.append(f"{host}: {fault}")
            public = fault.details.get("public", SILENT)
        else:
            health.passed(host)
            return answer
    raise Unavailable(f"no host answers ({'; '.join(reasons)})", public=public)


async def first_heard(
    hosts: Sequence[str], health: Health, call: Callable[[str], Awaitable[T]]
) -> T:
    """As ``first``, but one that is silent for ``HEDGE_S`` is not waited for.

    The next is asked, too, and whoever answers first is heard. So ``call`` must be safe to repeat.
    """

    async def ask(host: str) -> tuple[T | Fault]:
        try:
            return (await call(host),)
        except Fault as fault:
            if type(fault) is Unavailable:
                raise
            return (fault,)

    found = await _race(hosts, health, ask)
    if found is None:
        raise Unavailable("no hosts to ask")
    if isinstance(found[0], Fault):
        raise found[0]
    return found[0]


async def first_holder(
    hosts: Sequence[str], health: Health, call: Callable[[str], Awaitable[T]]
) -> T:
    """As ``first_heard``, but a host that lacks the thing is passed over.

    Raises:
        NotFound: every host answered, and none has it.
        Unavailable: none has it, and some did not answer, so nobody knows.

    """
    missing: NotFound | None = None

    async def ask(host: str) -> tuple[T] | None:
        nonlocal missing
        try:
            return (await call(host),)
        except NotFound as fault:
            missing = fault
            return None

    found = await _race(hosts, health, ask)
    if found is None:
        raise missing or Unavailable("no hosts to ask")
    return found[0]


async def _race(
    hosts: Sequence[str], health: Health, ask: Callable[[str], Awaitable[tuple[T] | None]]
) -> tuple[T] | None:
    """The first answer that is one; None if all answered without.

    Raises:
        Unavailable: none is, and some did not answer.

    """
    ask = briefly(hosts, health, ask, DOWN_S)
    line = deque(health.order(hosts, time.monotonic()))
    asked: dict[asyncio.Future[tuple[T] | None], tuple[str, float]] = {}
    silent: Unavailable | None = None
    try:
        while line or asked:
            if line:
                host = line.popleft()
                asking = asyncio.ensure_future(first([host], health, ask))
                asked[asking] = host, time.monotonic()
            done, _ = await asyncio.wait(
                asked, timeout=HEDGE_S if line else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in sorted(done, key=lambda one: one.exception() is not None):
                del asked[task]
                try:
                    found = task.result()
                except Unavailable as fault:
                    silent = fault
                    continue
                if found is not None:
                    for host, at_s in asked.values():
                        if time.monotonic() - at_s >= HEDGE_S:
                            health.failed(host, time.monotonic())
                    return found
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    if silent is not None:
        raise silent
    return None


def briefly(
    hosts: Collection[str], health: Health, call: Callable[[str], Awaitable[T]], wait_s: float
) -> Callable[[str], Awaitable[T]]:
    """``call``, but one of ``hosts`` that is down is not waited for longer than ``wait_s``.

    If all are, they are waited for as ever.
    """
    if all(map(health.down, hosts)):
        return call

    async def ask(host: str) -> T:
        try:
            async with asyncio.timeout(wait_s if health.down(host) else None):
                return await call(host)
        except TimeoutError as error:
            raise Unavailable(f"{host} is down: no answer in {wait_s} s", public=SILENT) from error

    return ask
