"""HDFS's REST interface: several namenodes of which one is active, and datanodes that hold bytes.

Hadoop, "WebHDFS REST API": https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-hdfs/WebHDFS.html
Paths are absolute and not encoded here.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from yarl import URL

from octopull.backends import answers
from octopull.backends.contract import Content, Span
from octopull.backends.guard import Guard
from octopull.backends.named_secrets import Secrets
from octopull.backends.webhdfs_answers import (
    ELSEWHERE,
    Answer,
    DirectoryListing,
    Done,
    Entry,
    FileStatus,
    Location,
    elsewhere,
    read_answer,
    refusal,
)  # fmt: skip
from octopull.config.backends import BackendSettings
from octopull.http.client import Http
from octopull.kernel.errors import Corrupt, Misuse, Unavailable

T = TypeVar("T")
PORT = 9870
"""A namenode's, where the url names none."""

DATANODES_MAX = 3
"""Datanodes tried for one call, as long as none has answered."""

ASKS_MAX = 16
"""Times a namenode is asked for a datanode that is not one of those: it picks by chance, and what
to leave out it knows by other ports than those it tells.
"""

USER, DELEGATION = "HADOOP_USER_NAME", "HADOOP_DELEGATION_TOKEN"
OPTIONS = frozenset({"user", "replication", "tls"})


class WebHdfs:
    """Calls to one HDFS. ``http`` must resolve by ``guard``, whose homes are the namenodes.

    Raises:
        Misuse: the settings have options that are none of ``OPTIONS``.

    """

    def __init__(self, http: Http, settings: BackendSettings, guard: Guard) -> None:
        if unknown := settings.options.keys() - OPTIONS:
            raise Misuse(f"hdfs has the options {', '.join(sorted(OPTIONS))}",
                         unknown=sorted(unknown))  # fmt: skip
        self._http = http
        self._settings = settings
        self._guard = guard
        self._namenodes = namenodes(settings)
        self._active = 0
        variables = {name: name for name in (USER, DELEGATION)}
        self._secrets = Secrets(settings.label, settings.credentials, variables)

    # Names.

    async def status(self, path: str) -> Entry:
        """Raises NotFound: neither file nor folder. Unavailable: nothing is known."""
        return (await self._json("GET", path, "GETFILESTATUS", FileStatus)).entry

    async def entries(self, path: str, after: str) -> tuple[list[Entry], bool]:
        """Entries of a folder behind ``after`` in order of bytes, and whether there are more.

        Raises:
            NotFound: no such folder.

        """
        # A namenode knows the one spelling, HttpFS the other.
        query = {"startafter": after, "startAfter": after} if after else {}
        found = await self._json("GET", path, "LISTSTATUS_BATCH", DirectoryListing, **query)
        entries = found.listing.partial.statuses.entries
        return [one for one in entries if one.path_suffix > after], found.listing.remaining > 0

    async def make_folder(self, path: str) -> None:
        """Make the folder and those it is in; one that is there is no fault."""
        await self._json("PUT", path, "MKDIRS", Done)

    async def rename(self, path: str, destination: str) -> None:
        """Let the file be ``destination``, at once, in place of the file that is there.

        Raises:
            NotFound: no such file, or ``destination`` is in no folder.

        """
        query = {"destination": destination, "renameoptions": "OVERWRITE"}
        self._checked(await self._ask("PUT", path, "RENAME", query))

    async def remove(self, path: str) -> bool:
        """Remove a file or an empty folder; False if neither was there."""
        return (await self._json("DELETE", path, "DELETE", Done)).boolean

    # Bytes.

    async def read(self, path: str, span: Span | None) -> AsyncGenerator[bytes, None]:
        """The file's bytes; datanodes that don't answer are left out.

        Raises:
            NotFound: no such file. Corrupt: another length than was asked for.

        """
        query = {} if span is None else {"offset": str(span.start), "length": str(span.length)}
        dead: list[str] = []
        while True:
            url, begun = await self._datanode("GET", path, "OPEN", query, dead), False
            try:
                async with self._http.exchange("GET", url, idle_s=self._idle_s) as response:
                    length = await self._length(response, path, span)
                    body = answers.exactly(response, length)
                    async with contextlib.aclosing(body) as chunks:
                        async for chunk in chunks:
                            begun = True
                            yield chunk
            except Unavailable as fault:
                if begun or not _another(url, dead, fault):
                    raise
            else:
                return

    async def _length(
        self, response: aiohttp.ClientResponse, path: str, span: Span | None
    ) -> int | None:
        if response.status != 200:
            raise refusal(self._settings.label, await read_answer(response))
        told = response.content_length
        if span is not None:
            if told not in {None, span.length}:
                raise Corrupt(f"{self._settings.label} sends another length than was asked for")
            return span.length
        return told if answers.told_end(response) else (await self.status(path)).length

    async def write(self, path: str, content: Content) -> None:
        """Make a file of ``content``, on the disks of its datanodes when this returns.

        Raises:
            Unavailable: it failed; a file of fewer bytes may be there.
            Corrupt: ``content`` is of another length than it says.
            Fault: whatever ``content`` raises.

        """
        query = {"overwrite": "true", "createflag": "CREATE,SYNC_BLOCK"}
        if "replication" in self._settings.options:
            query["replication"] = self._settings.options["replication"]
        dead: list[str] = []
        while True:
            body = _Body(content)
            url = await self._datanode("PUT", path, "CREATE", query, dead)
            try:
                await self._send(url, body)
            except Unavailable as fault:
                if body.failure is not None:
                    raise body.failure from fault
                if body.begun or not _another(url, dead, fault):
                    raise
            else:
                return

    async def _send(self, url: URL, body: "_Body") -> None:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(body.content.size),
        }
        chunks = body.chunks()
        try:
            async with self._http.exchange(
                "PUT", url, data=chunks, headers=headers, idle_s=self._idle_s
            ) as response:
                if response.status not in {200, 201}:
                    raise refusal(self._settings.label, await read_answer(response))
        finally:
            # Where the client's own task still reads, it is being cancelled, which closes it, too.
            with contextlib.suppress(RuntimeError):
                await chunks.aclose()

    async def _datanode(
        self, method: str, path: str, operation: str, query: Mapping[str, str], dead: list[str]
    ) -> URL:
        """Where the active namenode sends us, other than those that are ``dead``."""
        query = {**query, "noredirect": "true"}
        if dead:
            query["excludedatanodes"] = ",".join(dead)
        for _ in range(ASKS_MAX):
            answer = await self._ask(method, path, operation, query)
            if answer.status in answers.REDIRECTS:  # Before Hadoop 2.9 it could not but redirect.
                location = answer.headers.get("Location")
            else:
                location = self._decoded(self._checked(answer), Location).location
            url = self._guard.redirected(answer.url, location)
            if _place(url) not in dead:
                return url
        raise Unavailable(f"{self._settings.label} knows no datanode that answers", dead=dead)

    # Namenodes.

    @property
    def _idle_s(self) -> float:
        return self._settings.timeout_s

    async def _json(
        self, method: str, path: str, operation: str, shape: type[T], **query: str
    ) -> T:
        return self._decoded(self._checked(await self._ask(method, path, operation, query)), shape)

    async def _ask(
        self, method: str, path: str, operation: str, query: Mapping[str, str]
    ) -> Answer:
        """What the active namenode says; whichever that is, is asked first from then on.

        Raises:
            Unavailable: there is none.

        """
        query = {"op": operation, **query, **await self._proof()}
        told = "&".join(f"{name}={quote(value, safe='/')}" for name, value in query.items())
        relative = f"/webhdfs/v1{quote(path, safe='/-_.~@+=')}?{told}"
        reasons = dict[str, str]()
        for _ in self._namenodes:
            turn = self._active
            namenode = self._namenodes[turn]
            url = URL(f"{namenode}{relative}", encoded=True)
            try:
                answer = await self._asked(method, url)
            except Unavailable as fault:
                reasons[namenode] = str(fault)
            else:
                reason = elsewhere(answer)
                if not reason:
                    return answer
                reasons[namenode] = f"{namenode}: {reason}"
            if self._active == turn:  # Else somebody else has turned away from it already.
                self._active = (turn + 1) % len(self._namenodes)
        told = "; ".join(reasons.values())
        raise Unavailable(f"no namenode of {self._settings.label} serves: {told}")

    async def _asked(self, method: str, url: URL) -> Answer:
        try:
            async with (
                asyncio.timeout(self._idle_s),
                self._http.exchange(method, url, idle_s=self._idle_s) as response,
            ):
                return await read_answer(response)
        except TimeoutError as error:
            raise Unavailable(f"{url.host} does not answer in {self._idle_s} s") from error

    async def _proof(self) -> Mapping[str, str]:
        found = await self._secrets.read()
        if DELEGATION in found:
            return {"delegation": found[DELEGATION]}
        user = self._settings.options.get("user") or found.get(USER)
        return {"user.name": user} if user else {}

    # Answers.

    def _decoded(self, answer: Answer, shape: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(f"{self._settings.label} answers something else than WebHDFS") from error

    def _checked(self, answer: Answer) -> Answer:
        if answer.status >= 300:
            raise refusal(self._settings.label, answer)
        return answer


class _Body:
    """``content`` on its way; ``begun`` once a byte may have left, ``failure`` if it raises."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.begun = False
        self.failure: BaseException | None = None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Exactly as many bytes as ``content`` says.

        Raises:
            Corrupt: it has more, or fewer.

        """
        self.begun = True
        missing = self.content.size
        async with contextlib.aclosing(self.content.chunks()) as chunks:
            while (chunk := await self._next(chunks)) is not None:
                missing -= len(chunk)
                if missing < 0:
                    break
                yield chunk
        if missing:
            raise Corrupt("the content is not as long as it says", size=self.content.size)

    async def _next(self, chunks: AsyncGenerator[bytes, None]) -> bytes | None:
        try:
            return await anext(chunks, None)
        except BaseException as error:
            # The client takes what is raised here for a broken connection; and it cancels the
            # task that sends once it knows better, which is no failure of the content.
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                self.failure = error
            raise


def namenodes(settings: BackendSettings) -> list[str]:
    """The namenodes' addresses before ``/webhdfs/``.

    Raises:
        Misuse: the url names none, or one with no usable port.

    """
    scheme = "https" if settings.options.get("tls", "false") == "true" else "http"
    found = []
    for place in urlsplit(settings.url).netloc.split(","):
        try:
            parts = urlsplit(f"//{place}")
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise Misuse("an hdfs url names namenodes as host:port, parted by commas")
        found.append(f"{scheme}://{place if parts.port else f'{place}:{PORT}'}")
    return found


def _another(url: URL, dead: list[str], fault: Unavailable) -> bool:
    """Whether to ask for another datanode; the one of ``url`` joins the ``dead``."""
    # One that answers, if only to refuse, speaks for all.
    refused = "status" in fault.details and fault.details.get("exception") not in ELSEWHERE
    dead.append(_place(url))
    return not refused and len(dead) < DATANODES_MAX


def _place(url: URL) -> str:
    return f"{url.host}:{url.port}"
