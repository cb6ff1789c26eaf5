"""A collection of garbage by the tag index: asked for, and what it tells while it runs."""

from collections.abc import AsyncIterator

import msgspec

from octopull.clients.keeping import StoredBlob
from octopull.clients.lines import lines
from octopull.http.client import Http


class Looked(msgspec.Struct, frozen=True, kw_only=True, tag="looked"):
    """A page of one origin's untouched blobs is done; ``gone`` went, or would have."""

    origin: str
    looked_at: int
    gone: list[StoredBlob]


class Swept(msgspec.Struct, frozen=True, kw_only=True, tag="swept"):
    """One origin is done: blobs looked at, collected and kept back; ``failure`` says what ended it."""

    origin: str
    looked_at: int
    collected: int
    bytes: int
    kept_back: int
    failure: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The last line: all origins are done."""

    dry_run: bool
    grace_s: float


Line = Looked | Swept | Ended


async def collect(
    http: Http, host: str, *, grace_s: float | None, dry_run: bool
) -> AsyncIterator[Line]:
    """Have the tag index ``host`` collect, with its own grace time for None; what it tells.

    Raises:
        Unavailable: it does not answer, breaks off, or collects already.
        Misuse: it is not the only tag index. Corrupt: it answers something else.

    """
    query = f"dry_run={int(dry_run)}" + ("" if grace_s is None else f"&grace_s={grace_s}")
    async for line in lines(http, f"http://{host}/gc?{query}", _line, Ended):
        yield line


def _line(text: bytes) -> Line:
    line: Line = msgspec.json.decode(text, type=Line)
    return line
