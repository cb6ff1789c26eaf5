"""HTTP clients: every call has a deadline, and every failure is the right fault."""

import asyncio
import copy
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from yarl import URL

from octopull.config.tls import ClusterTls
from octopull.http.server import FAULT_HEADER, PROGRESS_HEADER
from octopull.kernel import errors
from octopull.kernel.errors import (
    Corrupt,
    Denied,
    Fault,
    Misuse,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)  # fmt: skip
from octopull.observability import logs
from octopull.observability.rarely import Rarely
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading, known_as
from octopull.security.roles import Role
from octopull.security.words import explain

T = TypeVar("T")
log = logs.get("http")
CONNECTIONS_PER_HOST_MAX = 64
CONNECT_S = 5.0
REPLY_BYTES_MAX = 8 * 1024 * 1024
REFUSED_EVERY_S = 60.0
"""How often it is told why a host is not believed, or does not believe us."""

SILENT = "a service of the cluster does not answer"
"""Said to clients of a service in place of the host that is behind it."""

DEMANDED = "demanded"
"""The detail of an ``Unauthenticated`` that holds what the server's 401 demanded."""

LONG = "a service of the cluster answers more than it may"

_BY_CODE: dict[str, type[Fault]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Fault)
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: status below 400, its headers, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """One pool of connections; open it with ``async with``. ``resolver`` chooses addresses.

    With ``tls`` it speaks TLS to all: whoever writes ``http://`` is given ``https``. ``to`` narrows
    it to services that prove what they are; operators alone speak with others, too.
    """

    def __init__(
        self, resolver: AbstractResolver | None = None, tls: Reloading[Mutual] | None = None
    ) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._resolver = resolver
        self._tls = tls
        self._role: Role | None = None
        self._vouched: ssl.SSLContext | None = None
        self._rarely = Rarely(REFUSED_EVERY_S)

    def to(self, role: Role) -> "Http":
        """The same pool, to speak with services of that role alone. Once it is open."""
        narrowed = copy.copy(self)
        narrowed._role = role  # noqa: SLF001 - its own
        return narrowed

    def vouched(self, by: ssl.SSLContext) -> "Http":
        """The same pool, to speak with hosts that this one believes. Once it is open."""
        narrowed = copy.copy(self)
        narrowed._vouched = by  # noqa: SLF001 - its own
        return narrowed

    def apart(self) -> "Http":
        """A pool of its own, to be opened, by the same addresses and certificates."""
        return Http(self._resolver, self._tls)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=CONNECTIONS_PER_HOST_MAX, resolver=self._resolver
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        assert self._session is not None
        await self._session.close()
        if self._resolver is not None:
            await self._resolver.close()

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str | URL,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        idle_s: float = 30.0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of any status whose body is still to be read; redirects are not followed.

        ``idle_s`` bounds each wait for bytes, not the whole transfer: large blobs take long.

        Raises:
            Unavailable: refused, reset or silent, or this client's block has ended.
            Fault: whatever ``data`` raises while it is sent.

        """
        assert self._session is not None
        if self._session.closed:
            raise Unavailable("whose connections these were has ended", public=SILENT)
        url, failure = self._addressed(url), list[Fault]()
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(CONNECT_S, idle_s), sock_read=idle_s
        )
        try:
            async with asyncio.timeout(None) as stall:
                # aiohttp's own time-outs begin only once the body is sent.
                if hasattr(data, "__aiter__"):
                    data = StreamedBody(_paced(data, stall, idle_s, failure))
                async with self._session.request(
                    method, url, data=data, headers=headers, timeout=timeout,
                    allow_redirects=False, ssl=self._context(),
                ) as response:  # fmt: skip
                    if not stall.expired():
                        stall.reschedule(None)
                    yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if failure:
                raise failure[0] from error
            raise Unavailable(
                f"{method} {_shown(url)} failed: {self._reason(url, error)}", public=SILENT
            ) from error

    def _addressed(self, url: str | URL) -> str | URL:
        if self._tls is None:
            return url
        if isinstance(url, URL):
            return url.with_scheme("https")
        return f"https{url.removeprefix('http')}" if url.startswith("http:") else url

    def _context(self) -> ssl.SSLContext | bool:
        """That of now: connections that were made by an older one are not used again."""
        if self._vouched is not None:
            return self._vouched
        return True if self._tls is None else self._tls.current.calling[self._role]

    def _reason(self, url: str | URL, error: Exception) -> str:
        if (told := explain(error)) is None:
            return _reason(error)
        # Whoever asked may well try another host, and nobody would hear of it.
        where = URL(url).authority
        if self._rarely.due(f"{where} {told}", asyncio.get_running_loop().time()):
            log.warning("tls.refused", called=where, reason=told)
        return told

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        idle_s: float = 30.0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """As ``exchange``, an answer below 400.

        Raises:
            NotFound: 404. Misuse: other 4xx, as the class the server named.
            Unavailable: 5xx, refused, reset or silent.

        """
        async with self.exchange(
            method, url, data=data, headers=headers, idle_s=idle_s
        ) as response:
            if response.status >= 400:
                raise _fault(response.status, response.headers, await _some(response))
            yield response

    async def call(
        self,
        method: str,
        url: str,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        bytes_max: int = REPLY_BYTES_MAX,
    ) -> Reply:
        """A whole answer below 400 of at most ``bytes_max`` bytes, within ``timeout_s``.

        Raises:
            as ``stream``; TooLarge: the answer is longer.

        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                self.stream(method, url, data=data, headers=headers, idle_s=timeout_s) as response,
            ):
                if (response.content_length or 0) > bytes_max and method != "HEAD":
                    raise TooLarge(f"{url} answers more than {bytes_max} bytes", public=LONG)
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > bytes_max:
                        raise TooLarge(f"{url} answers more than {bytes_max} bytes", public=LONG)
                return Reply(response.status, response.headers.copy(), bytes(body))
        except TimeoutError as error:
            raise Unavailable(
                f"{method} {url}: no answer in {timeout_s} s", public=SILENT
            ) from error

    async def bytes(self, method: str, url: str, *, bytes_max: int, timeout_s: float = 10) -> bytes:
        """The body alone; see ``call``."""
        return (await self.call(method, url, bytes_max=bytes_max, timeout_s=timeout_s)).body

    async def json(
        self, method: str, url: str, shape: type[T], *, body: object = None, timeout_s: float = 10
    ) -> T:
        """The body as ``shape``; ``body`` is sent as JSON.

        Raises:
            as ``call``; Corrupt: the answer is not of that shape.

        """
        sent = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        reply = await self.call(method, url, data=sent, headers=headers, timeout_s=timeout_s)
        try:
            return msgspec.json.decode(reply.body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError, Misuse) as error:
            raise Corrupt(f"{url} answered something else: {error}") from error


@asynccontextmanager
async def among_services(
    own: Role, files: ClusterTls | None, resolver: AbstractResolver | None = None
) -> AsyncIterator[tuple[Reloading[Mutual] | None, Http]]:
    """How a service that is ``own`` proves it, and a client that does; None, and one in clear.

    ``resolver`` chooses the client's addresses.

    Raises:
        Misuse: the files are wrong.

    """
    async with known_as(own, files) as tls, Http(resolver, tls) as http:
        yield tls, http


class StreamedBody(aiohttp.AsyncIterablePayload):
    """A stream that takes its connection with it if it is broken off.

    Closed in peace, the connection would send first what it still holds: a peer that does not
    read could keep it, and a socket, for ever.
    """

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        assert isinstance(writer, aiohttp.http.StreamWriter)
        transport = writer.transport
        try:
            await super().write_with_length(writer, content_length)
        except BaseException:
            if transport is not None:
                transport.abort()
            raise


async def _paced(
    data: AsyncIterator[bytes], stall: asyncio.Timeout, idle_s: float, failure: list[Fault]
) -> AsyncIterator[bytes]:
    """``data``, with ``stall`` running while the peer takes a chunk, not while we wait for one.

    What ``data`` raises is left in ``failure``: aiohttp takes any error for a broken connection.
    """
    loop = asyncio.get_running_loop()
    try:
        async for chunk in data:
            if not stall.expired():
                stall.reschedule(loop.time() + idle_s)
            yield chunk
            if not stall.expired():
                stall.reschedule(None)
    except Fault as fault:
        failure.append(fault)
        raise


def _shown(url: str | URL) -> str:
    """Without its query, which may be as good as a password."""
    return str(url).partition("?")[0]


def _reason(error: Exception) -> str:
    # Some of aiohttp's errors repeat the whole request, headers and all.
    told = isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL)
    return type(error).__name__ if told else repr(error)


async def _some(response: aiohttp.ClientResponse) -> bytes:
    return await response.content.read(4096)


def _fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    try:
        message = str(msgspec.json.decode(body)["errors"][0]["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError):
        message = f"status {status}"
    if status == 401:
        demanded = {DEMANDED: headers.get("WWW-Authenticate", "")}
        return Unauthenticated(message, status=status, **demanded)
    named = _BY_CODE.get(headers.get(FAULT_HEADER, ""))
    if named is not None:
        progress = {"progress": headers[PROGRESS_HEADER]} if PROGRESS_HEADER in headers else {}
        return named(message, status=status, **progress)
    if status == 403:
        return Denied(message, status=status)
    if status == 404:
        return NotFound(message, status=status)
    if status >= 500 or status in {408, 429}:
        return Unavailable(message, status=status)
    return Misuse(message, status=status)
