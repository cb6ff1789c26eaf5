"""One request to a registry until it is settled: proof of who we are, redirects, pauses."""

import asyncio
import io
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from octopull.backends.authorization import Authorization, Purpose
from octopull.backends.counting import counted
from octopull.backends.guard import Guard
from octopull.backends.registry_place import Place, Role
from octopull.http.client import Http
from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.oci import challenges

REDIRECTS_MAX = 5
PAUSE_S_MAX = 20.0
"""A longer pause that a registry asks for is kept by refusing requests, not by waiting."""

REST_S_MAX = 300.0
REST_S = 10.0
"""How long a registry that is overloaded, and says no more, is left alone."""

REFUSAL_BYTES_MAX = 4096
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_BUSY = frozenset({429, 500, 502, 503, 504})
_OPERATIONS = {"HEAD": "stat", "GET": "get", "DELETE": "delete"}
_CODE = re.compile(rb'"code"\s*:\s*"([A-Z_]{1,64})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. A ``body`` that is made anew for each sending is sent once if it fails."""

    method: str
    repository: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    purpose: Purpose = Purpose.PULL
    body: bytes | Callable[[], AsyncIterator[bytes]] = b""
    idle_s: float | None = None
    """How long the next bytes may take; None: as the registry's settings say."""


class Requests:
    """Requests to the registry at ``place``, through ``http``, whose resolver is ``guard``."""

    def __init__(self, http: Http, place: Place, guard: Guard) -> None:
        self._http = http
        self._place = place
        self._guard = guard
        self._base = URL(place.address)
        self._authorization = Authorization(http, place, guard)
        self._rests_until_s = 0.0

    def url(self, repository: str, path: str) -> URL:
        """The address of ``/v2/<repository>/<path>``."""
        return URL(f"{self._place.address}/v2/{repository}/{path}", encoded=True)

    def location(self, response: aiohttp.ClientResponse) -> URL:
        """Where an answer sends us.

        Raises:
            Unavailable: nowhere, or where a registry may not send us.

        """
        return self.beside(response, response.headers.get("Location"))

    def beside(self, response: aiohttp.ClientResponse, reference: str | None) -> URL:
        """The address that an answer names; raises as ``location``."""
        return self._guard.redirected(response.url, reference)

    @asynccontextmanager
    async def answer(
        self, method: str, repository: str, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer for ``/v2/<repository>/<path>``; see ``settled``."""
        url = self.url(repository, path)
        ask = Ask(method=method, repository=repository, url=url, headers=headers)
        async with self.settled(ask) as response:
            yield response

    @asynccontextmanager
    async def settled(self, ask: Ask) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, below 300, its body still to be read.

        Raises:
            NotFound: it isn't there, or not for us: registries answer 401 or 403 for both, and
                asking again would not help.
            Unavailable: anything else. ``details["status"]`` and ``details["told"]``: the
                answer's status, and its first error code, of a request to push or delete;
                ``details["pause_s"]``: what it asked for before the next one;
                ``details["rests_s"]``: no use asking before that.

        """
        attempts = 1 if callable(ask.body) else self._place.attempts_max
        with self._counted(ask):
            async with AsyncExitStack() as stack:
                for attempt in range(attempts):
                    self._check_rest()
                    response = await self._authorized(stack, ask)
                    if response.status < 300:
                        yield response
                        return
                    if response.status not in _BUSY:
                        raise await self._refused(ask, response)
                    pause_s = self._pause_s(ask, response, attempt)
                    await stack.aclose()
                    await asyncio.sleep(pause_s)

    def _counted(self, ask: Ask) -> AbstractContextManager[None]:
        if self._place.role is not Role.BACKEND:
            return nullcontext()
        return counted(self._place.name, _OPERATIONS.get(ask.method, "put"))

    async def _authorized(self, stack: AsyncExitStack, ask: Ask) -> aiohttp.ClientResponse:
        """The answer after at most one new proof of who we are."""
        value = self._authorization.value(ask.repository, ask.purpose)
        response = await self._follow(stack, ask, value)
        if response.status != 401 or not self._is_home(response.url):
            return response
        told = challenges.parse(", ".join(response.headers.getall("WWW-Authenticate", [])))
        if not await self._authorization.obtain(told, ask.repository, ask.purpose, value):
            return response
        await stack.aclose()
        value = self._authorization.value(ask.repository, ask.purpose)
        response = await self._follow(stack, ask, value)
        if response.status == 401 and self._is_home(response.url):
            self._authorization.refused(value)
        return response

    async def _follow(
        self, stack: AsyncExitStack, ask: Ask, value: str | None
    ) -> aiohttp.ClientResponse:
        """The answer behind all redirects; the proof of who we are goes to the registry alone."""
        url = ask.url
        redirects = _REDIRECTS if ask.purpose is Purpose.PULL else _SAME_METHOD
        # What was compressed on the way would have another digest.
        headers = {"Accept-Encoding": "identity", **ask.headers}
        for _ in range(REDIRECTS_MAX + 1):
            proof = {"Authorization": value} if value and self._is_home(url) else {}
            response = await stack.enter_async_context(
                self._http.exchange(
                    ask.method, url, headers={**headers, **proof},
                    data=ask.body() if callable(ask.body) else io.BytesIO(ask.body),
                    idle_s=ask.idle_s or self._place.timeout_s,
                )
            )  # fmt: skip
            if response.status not in redirects:
                return response
            url = self._guard.redirected(url, response.headers.get("Location"))
            await stack.aclose()
        raise Unavailable("the upstream redirects without end", most=REDIRECTS_MAX)

    def _is_home(self, url: URL) -> bool:
        return url.origin() == self._base.origin()

    async def _refused(self, ask: Ask, response: aiohttp.ClientResponse) -> Fault:
        status, name = response.status, self._place.name
        if ask.purpose is not Purpose.PULL:
            return await self._refused_change(response)
        if status in {401, 403} and self._is_home(response.url):
            return NotFound(
                f"{name} has no such repository, or not for this cluster", status=status
            )
        if status in {400, 404, 410}:
            return NotFound(f"{name} has no such thing", status=status)
        return Unavailable(f"{name} answers with status {status}", status=status)

    async def _refused_change(self, response: aiohttp.ClientResponse) -> Fault:
        status, name = response.status, self._place.name
        match = _CODE.search(await response.content.read(REFUSAL_BYTES_MAX))
        told = match[1].decode("ascii") if match else ""
        if status in {401, 403}:
            return Unavailable(f"{name} does not let this cluster change it", status=status)
        words = f"{name} answers with status {status}{told and f': {told}'}"
        kind = NotFound if status in {404, 410} else Unavailable
        return kind(words, status=status, told=told)

    # Pauses.

    def _check_rest(self) -> None:
        rests_s = self._rests_until_s - time.monotonic()
        if rests_s > 0:
            raise Unavailable(f"{self._place.name} asked to be left alone", rests_s=rests_s)

    def _pause_s(self, ask: Ask, response: aiohttp.ClientResponse, attempt: int) -> float:
        """How long to wait before the next attempt.

        Raises:
            Unavailable: too long, or there were enough attempts.

        """
        asked_s = retry_after_s(response.headers.get("Retry-After", ""))
        status, words = response.status, f"{self._place.name} answers with status {response.status}"
        if callable(ask.body) and (asked_s or 0.0) <= PAUSE_S_MAX:
            raise Unavailable(words, status=status, pause_s=asked_s or 0.0)
        last = attempt + 1 == self._place.attempts_max
        if last or (asked_s or 0.0) > PAUSE_S_MAX:
            # One object that can't be had says nothing of the others.
            rests_s = 0.0
            if asked_s is not None or status in {429, 503}:
                rests_s = min(REST_S if asked_s is None else asked_s, REST_S_MAX)
                self._rests_until_s = time.monotonic() + rests_s
            raise Unavailable(words, status=status, rests_s=rests_s)
        return 2**attempt * random.uniform(0.5, 1.0) if asked_s is None else asked_s


def retry_after_s(header: str) -> float | None:
    """Seconds that ``Retry-After`` asks for (RFC 9110 section 10.2.3); None if it says nothing."""
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
