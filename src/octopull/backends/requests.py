"""One request to an upstream until it is settled: proof of who we are, redirects, pauses."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from octopull.backends.authorization import Authorization
from octopull.backends.guard import Guard
from octopull.config.upstreams import UpstreamSettings
from octopull.http.client import Http
from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.oci import challenges

REDIRECTS_MAX = 5
ATTEMPTS_MAX = 4
PAUSE_S_MAX = 20.0
"""A longer pause that an upstream asks for is kept by refusing requests, not by waiting."""

REST_S_MAX = 300.0
REST_S = 10.0
"""How long an upstream that is overloaded, and says no more, is left alone."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({429, 500, 502, 503, 504})


class Requests:
    """Requests to the upstream of ``settings``, through ``http``, whose resolver is ``guard``."""

    def __init__(self, http: Http, settings: UpstreamSettings, guard: Guard) -> None:
        self._http = http
        self._settings = settings
        self._guard = guard
        self._base = URL(settings.address)
        self._authorization = Authorization(http, settings, guard)
        self._rests_until_s = 0.0

    @asynccontextmanager
    async def answer(
        self, method: str, repository: str, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer for ``/v2/<repository>/<path>``, below 300, its body still to be read.

        Raises:
            NotFound: it isn't there, or not for us: registries answer 401 or 403 for both, and
                asking again would not help.
            Unavailable: anything else. ``details["rests_s"]``: no use asking before that.

        """
        url = URL(f"{self._settings.address}/v2/{repository}/{path}", encoded=True)
        # What was compressed on the way would have another digest.
        sent = {"Accept-Encoding": "identity", **headers}
        async with AsyncExitStack() as stack:
            for attempt in range(ATTEMPTS_MAX):
                self._check_rest()
                response = await self._authorized(stack, method, repository, url, sent)
                if response.status < 300:
                    yield response
                    return
                if response.status not in _BUSY:
                    raise self._refused(response)
                pause_s = self._pause_s(response, attempt)
                await stack.aclose()
                await asyncio.sleep(pause_s)

    async def _authorized(
        self, stack: AsyncExitStack, method: str, repository: str, url: URL,
        headers: Mapping[str, str],
    ) -> aiohttp.ClientResponse:  # fmt: skip
        """The answer after at most one new proof of who we are."""
        value = self._authorization.value(repository)
        response = await self._follow(stack, method, url, headers, value)
        if response.status != 401 or not self._is_home(response.url):
            return response
        told = ", ".join(response.headers.getall("WWW-Authenticate", []))
        if not await self._authorization.obtain(challenges.parse(told), repository, value):
            return response
        await stack.aclose()
        value = self._authorization.value(repository)
        response = await self._follow(stack, method, url, headers, value)
        if response.status == 401 and self._is_home(response.url):
            self._authorization.refused(value)
        return response

    async def _follow(
        self, stack: AsyncExitStack, method: str, url: URL, headers: Mapping[str, str],
        value: str | None,
    ) -> aiohttp.ClientResponse:  # fmt: skip
        """The answer behind all redirects; the proof of who we are goes to the upstream alone."""
        for _ in range(REDIRECTS_MAX + 1):
            proof = {"Authorization": value} if value and self._is_home(url) else {}
            response = await stack.enter_async_context(
                self._http.exchange(
                    method, url, headers={**headers, **proof}, idle_s=self._settings.timeout_s
                )
            )
            if response.status not in _REDIRECTS:
                return response
            url = self._guard.redirected(url, response.headers.get("Location"))
            await stack.aclose()
        raise Unavailable("the upstream redirects without end", most=REDIRECTS_MAX)

    def _is_home(self, url: URL) -> bool:
        return url.origin() == self._base.origin()

    def _refused(self, response: aiohttp.ClientResponse) -> Fault:
        status, name = response.status, self._settings.name
        if status in {401, 403} and self._is_home(response.url):
            return NotFound(
                f"{name} has no such repository, or not for this cluster", status=status
            )
        if status in {400, 404, 410}:
            return NotFound(f"{name} has no such thing", status=status)
        return Unavailable(f"{name} answers with status {status}", status=status)

    # Pauses.

    def _check_rest(self) -> None:
        rests_s = self._rests_until_s - time.monotonic()
        if rests_s > 0:
            raise Unavailable(f"{self._settings.name} asked to be left alone", rests_s=rests_s)

    def _pause_s(self, response: aiohttp.ClientResponse, attempt: int) -> float:
        """How long to wait before the next attempt.

        Raises:
            Unavailable: too long, or there were enough attempts.

        """
        asked_s = retry_after_s(response.headers.get("Retry-After", ""))
        last = attempt + 1 == ATTEMPTS_MAX
        if last or (asked_s or 0.0) > PAUSE_S_MAX:
            # One object that can't be had says nothing of the others.
            rests_s = 0.0
            if asked_s is not None or response.status in {429, 503}:
                rests_s = min(REST_S if asked_s is None else asked_s, REST_S_MAX)
                self._rests_until_s = time.monotonic() + rests_s
            raise Unavailable(f"{self._settings.name} answers with status {response.status}",
                              status=response.status, rests_s=rests_s)  # fmt: skip
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
