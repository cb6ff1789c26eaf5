"""What WebHDFS answers: documents, and exceptions by name.

Hadoop, "WebHDFS REST API", "JSON Schemas" and "Error Responses".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import msgspec
from yarl import URL

from octopull.backends import answers
from octopull.backends.requests import retry_after_s
from octopull.http.client import REPLY_BYTES_MAX
from octopull.kernel.errors import Fault, NotFound, Unavailable

ELSEWHERE = frozenset({"StandbyException", "RetriableException", "ConnectException"})
"""What a namenode says that can't serve, while another may."""

_WORDS = {
    "AccessControlException": "does not permit it",
    "AuthorizationException": "does not permit it",
    "AuthenticationException": "refuses our user",
    "SecurityException": "refuses our user or token",
    "InvalidToken": "refuses our token",
    "SafeModeException": "is in safe mode",
    "DSQuotaExceededException": "has no space left in the quota",
    "NSQuotaExceededException": "has no names left in the quota",
}


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """HDFS's ``FileStatus``: of ``path_suffix`` within a folder, empty for the path itself."""

    type: str
    length: int
    path_suffix: str = ""
    file_id: int = 0
    modification_time: int = 0
    """Milliseconds since 1970, by HDFS's clock."""

    @property
    def is_file(self) -> bool:
        """Rather than a folder or a link."""
        return self.type == "FILE"


class FileStatus(msgspec.Struct, frozen=True):
    """Of ``GETFILESTATUS``."""

    entry: Entry = msgspec.field(name="FileStatus")


class _Entries(msgspec.Struct, frozen=True):
    entries: list[Entry] = msgspec.field(name="FileStatus")


class _Partial(msgspec.Struct, frozen=True):
    statuses: _Entries = msgspec.field(name="FileStatuses")


class _Listing(msgspec.Struct, frozen=True):
    partial: _Partial = msgspec.field(name="partialListing")
    remaining: int = msgspec.field(name="remainingEntries", default=0)


class DirectoryListing(msgspec.Struct, frozen=True):
    """Of ``LISTSTATUS_BATCH``."""

    listing: _Listing = msgspec.field(name="DirectoryListing")


class Done(msgspec.Struct, frozen=True):
    """Of ``MKDIRS`` and ``DELETE``: whether there was something to do it to."""

    boolean: bool


class Location(msgspec.Struct, frozen=True):
    """Of ``OPEN`` and ``CREATE`` with ``noredirect``: the address at a datanode."""

    location: str = msgspec.field(name="Location")


class Remote(msgspec.Struct, frozen=True):
    """A ``RemoteException``: the name of its class, and what it says."""

    exception: str = ""
    message: str = ""


class _Failed(msgspec.Struct, frozen=True):
    remote: Remote = msgspec.field(name="RemoteException")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; ``remote`` is the exception it tells of, if its status is 400 or more."""

    url: URL
    status: int
    headers: Mapping[str, str]
    body: bytes
    remote: Remote | None = None


async def read_answer(response: aiohttp.ClientResponse) -> Answer:
    """All of an answer.

    Raises:
        Corrupt: it has no end.

    """
    body = await answers.whole(response, REPLY_BYTES_MAX)
    remote = None
    if response.status >= 400:
        try:
            remote = msgspec.json.decode(body, type=_Failed).remote
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            remote = Remote()
    return Answer(response.url, response.status, response.headers.copy(), body, remote)


def elsewhere(answer: Answer) -> str:
    """Why another namenode should be asked, if so."""
    if answer.remote is None:
        return ""
    if not answer.remote.exception and answer.status >= 500:
        return f"status {answer.status}"
    return answer.remote.exception if answer.remote.exception in ELSEWHERE else ""


def refusal(label: str, answer: Answer) -> Fault:
    """What an answer of status 300 or more means; ``label`` names the store to people."""
    remote = answer.remote or Remote()
    details: dict[str, object] = {"status": answer.status, "exception": remote.exception}
    if remote.exception == "FileNotFoundException":
        return NotFound(f"{label} has no such file", **details)
    if answer.status == 401 and not remote.exception:
        return Unavailable(f"{label} wants to know who we are", **details)
    words = _WORDS.get(remote.exception)
    if words is not None:
        return Unavailable(f"{label} {words}: {_line(remote.message)}", **details)
    rests_s = retry_after_s(answer.headers.get("Retry-After", ""))
    if rests_s is not None:
        details["rests_s"] = rests_s
    told = f"{remote.exception}: {_line(remote.message)}" if remote.exception else "no reason"
    return Unavailable(f"{label} answers with status {answer.status}: {told}", **details)


def _line(message: str) -> str:
    """What an exception says, without its trace."""
    return message.partition("\n")[0][:200]
