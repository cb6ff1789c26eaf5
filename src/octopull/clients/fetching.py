"""How an origin is told to fetch a blob from elsewhere, and how to wait for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import TypeVar

import msgspec

from octopull.clients.failover import first
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Pending
from octopull.placement.health import Health

T = TypeVar("T")
WAIT_S = 5.0
"""An origin answers after this at the latest; who asked asks again."""

ANSWER_S = 10.0
PAUSE_S = 0.1


class Until(Enum):
    """What is waited for: that the blob can be read while it comes, or that it is there."""

    READABLE = auto()
    WHOLE = auto()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A blob on its way: bytes ``received`` of ``size``, if that is known.

    ``progress`` changes as long as there is hope, even while the blob waits for its turn. A blob
    that is ``readable`` can be read and fetched piece by piece while it comes.
    """

    received: int
    size: int | None
    progress: int
    readable: bool = False


async def ask(
    http: Http, host: str, namespace: str, digest: Digest, *, manifest: bool = False,
    wait_s: float = WAIT_S, until: Until = Until.READABLE,
) -> Progress | None:  # fmt: skip
    """Have ``host`` fetch a blob; None once it is there, else how far it is after ``wait_s``.

    ``manifest`` says that it is one, which saves a question.

    Raises:
        NotFound: it isn't there, or there is nothing to fetch it from.
        UpstreamFailed, Corrupt: it can't be had. Unavailable: ``host`` does not answer.

    """
    url = f"http://{host}/namespace/{namespace}/blobs/{digest}/fetch?wait_s={wait_s}"
    if manifest:
        url += "&manifest=1"
    if until is Until.WHOLE:
        url += "&whole=1"
    reply = await http.call("POST", url, timeout_s=wait_s + ANSWER_S)
    if reply.status != 202:
        return None
    try:
        return msgspec.json.decode(reply.body, type=Progress)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt("an origin answered something else", host=host) from error


async def fetch(
    http: Http, hosts: Sequence[str], health: Health, namespace: str, digest: Digest, *,
    manifest: bool = False, wait_s: float = WAIT_S, until: Until = Until.READABLE,
) -> None:  # fmt: skip
    """Have the first of ``hosts`` that answers fetch a blob; returns once it is so far.

    Raises:
        Pending: it is on its way. Others as ``ask``.

    """

    async def ask_one(host: str) -> Progress | None:
        return await ask(
            http, host, namespace, digest, manifest=manifest, wait_s=wait_s, until=until
        )

    found = await first(hosts, health, ask_one)
    if found is not None and not (found.readable and until is Until.READABLE):
        raise Pending(
            "the blob is on its way from its upstream",
            progress=found.progress, received=found.received, size=found.size,
        )  # fmt: skip


async def patient(call: Callable[[], Awaitable[T]], silence_s: float) -> T:
    """What ``call`` returns, repeated while it is ``Pending`` and progress is seen.

    Raises:
        Pending: none for ``silence_s``. Others as ``call``.

    """
    seen, until_s = "", 0.0
    while True:
        try:
            return await call()
        except Pending as fault:
            now, progress = time.monotonic(), str(fault.details.get("progress"))
            if progress != seen:
                seen, until_s = progress, now + silence_s
            elif now > until_s:
                raise
        await asyncio.sleep(PAUSE_S)
