"""What origins and tag indexes tell of what they have yet to write: ``GET /write-back``, metrics."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from prometheus_client import Gauge

from octopull.http.client import Http
from octopull.kernel.errors import Fault
from octopull.observability import logs

log = logs.get("write_back")
MEASURE_S = 10.0


class BackendProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One store; ``failing`` says why nothing gets there, and is empty if something does."""

    name: str
    pending: int
    failing: str = ""


class WriteBackProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks in all, and how long the oldest has waited (0: there is none)."""

    pending: int
    oldest_s: float
    backends: list[BackendProgress]


async def progress(http: Http, host: str, timeout_s: float) -> WriteBackProgress:
    """What the service at ``host`` tells.

    Raises:
        NotFound: it has nothing to write. Unavailable: it does not answer.
        Corrupt: it answers something else.

    """
    url = f"http://{host}/write-back"
    return await http.json("GET", url, WriteBackProgress, timeout_s=timeout_s)


async def measure(
    progress: Callable[[], Awaitable[WriteBackProgress]], oldest_s: Gauge, pending: Gauge
) -> None:
    """Keep the metrics ``oldest_s`` and, for each backend, ``pending``, until cancelled."""
    while True:
        try:
            told = await progress()
        except Fault as fault:
            log.warning("tasks.not_read", reason=str(fault))
        else:
            oldest_s.set(told.oldest_s)
            for backend in told.backends:
                pending.labels(backend.name).set(backend.pending)
        await asyncio.sleep(MEASURE_S)
