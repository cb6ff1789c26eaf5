"""A collection of garbage by the tag index: asked for, and what it tells while it runs."""

from collections.abc import AsyncIterator

import msgspec

from octopull.clients.keeping import StoredBlob
from octopull.http.client import Http
from octopull.kernel.errors import Corrupt, Unavailable

LINE_IDLE_S = 300.0
LINE_BYTES_MAX = 1 << 20
"""Far more than a page of digests takes."""


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
    url = f"http://{host}/gc?{query}"
    async with http.stream("POST", url, idle_s=LINE_IDLE_S) as response:
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise Corrupt(f"{url} answers a line without an end")
            for text in lines:
                line = _line(url, text)
                yield line
                if isinstance(line, Ended):
                    return
    raise Unavailable("the collection broke off", tag_index=host)


def _line(url: str, text: bytes) -> Line:
    try:
        line: Line = msgspec.json.decode(text, type=Line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"{url} answered something else: {error}") from error
    return line
