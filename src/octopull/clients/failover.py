"""One call to whichever host of a cluster answers."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from octopull.http.client import SILENT
from octopull.kernel.errors import NotFound, Pending, Unavailable, UpstreamFailed
from octopull.placement.health import Health

T = TypeVar("T")


async def first(hosts: Sequence[str], health: Health, call: Callable[[str], Awaitable[T]]) -> T:
    """The answer of the first host of ``hosts`` that is up, healthy ones first.

    Raises:
        Unavailable: none is.
        Pending, UpstreamFailed: as the first one says; others would say the same.
        Fault: what the answering host refused with.

    """
    reasons: list[str] = []
    for host in health.order(hosts, time.monotonic()):
        try:
            answer = await call(host)
        except (Pending, UpstreamFailed):
            health.passed(host)
            raise
        except Unavailable as fault:
            health.failed(host, time.monotonic())
            reasons.append(f"{host}: {fault}")
        else:
            health.passed(host)
            return answer
    raise Unavailable(f"no host answers ({'; '.join(reasons)})", public=SILENT)


async def first_holder(
    hosts: Sequence[str], health: Health, call: Callable[[str], Awaitable[T]]
) -> T:
    """As ``first``, but a host that lacks the thing is passed over.

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

    silent: Unavailable | None = None
    for host in health.order(hosts, time.monotonic()):
        try:
            found = await first([host], health, ask)
        except Unavailable as fault:
            silent = fault
            continue
        if found is not None:
            return found[0]
    if silent is not None or missing is None:
        raise silent or Unavailable("no hosts to ask")
    raise missing
