"""What a tag index tells of its remotes: how far they are behind, and where they differ."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import msgspec

from octopull.clients.lines import lines
from octopull.http.client import Http


class RemoteProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One remote: tasks in all, and how long the oldest has waited (0: there is none).

    ``failing`` says why nothing gets there, and is empty if something does; ``ruled`` is False
    of one that is no longer in the rules, but has tasks.
    """

    name: str
    pending: int
    oldest_s: float
    failing: str = ""
    ruled: bool = True


class ReplicationProgress(msgspec.Struct, frozen=True, kw_only=True):
    """All remotes; ``refused`` says why the file of rules does not count as it is now."""

    remotes: list[RemoteProgress]
    refused: str = ""


class Compared(msgspec.Struct, frozen=True, kw_only=True, tag="compared"):
    """One repository, whose ``tags`` are so many here.

    ``lacking`` there, ``moved``: other there, ``deleted`` here and not there; ``referrers`` that
    are lacking there. ``only_there``: tags that nobody is known to have had here.
    """

    repository: str
    tags: int
    lacking: list[str]
    moved: list[str]
    deleted: list[str]
    referrers: list[str]
    only_there: int

    @property
    def differs(self) -> bool:
        """Whether there is something to mend."""
        return bool(self.lacking or self.moved or self.deleted or self.referrers)


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The last line; ``failure`` says what ended it early."""

    failure: str = ""


Line = Compared | Ended


async def progress(http: Http, host: str, timeout_s: float = 5.0) -> ReplicationProgress:
    """What the tag index ``host`` tells.

    Raises:
        NotFound: it replicates nothing. Unavailable: it does not answer.
        Corrupt: it answers something else.

    """
    url = f"http://{host}/replication"
    return await http.json("GET", url, ReplicationProgress, timeout_s=timeout_s)


async def reconcile(
    http: Http, host: str, remote: str, *, dry_run: bool, overwrite: bool
) -> AsyncIterator[Line]:
    """Have the tag index ``host`` compare itself with ``remote``; what it tells.

    Raises:
        NotFound: it has no such remote. Unavailable: it does not answer, or breaks off.
        Corrupt: it answers something else.

    """
    query = f"dry_run={int(dry_run)}&overwrite={int(overwrite)}"
    url = f"http://{host}/replication/{quote(remote)}/reconcile?{query}"
    async for line in lines(http, url, _line, Ended):
        yield line


def _line(text: bytes) -> Line:
    line: Line = msgspec.json.decode(text, type=Line)
    return line


async def forget(http: Http, host: str, remote: str) -> int:
    """Have the tag index forget what ``remote`` is to be told of; returns how many tasks.

    Raises:
        as ``reconcile``.

    """
    url = f"http://{host}/replication/{quote(remote)}/tasks"
    return await http.json("DELETE", url, int)
