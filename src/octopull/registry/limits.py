"""Clients get their share of a server and no more, by who they are or else by their address."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from octopull.config.limits import ClientLimits
from octopull.http.crowd import address_of
from octopull.kernel.errors import TooMany
from octopull.observability import metrics
from octopull.registry.access.door import caller_of
from octopull.registry.shares import Allowance, Sessions

FREE = frozenset({"/health", "/readiness"})
"""Whoever balances load asks all the time."""


class Limits:
    """Those of ``settings``, at one ``service``."""

    def __init__(self, settings: ClientLimits, service: str) -> None:
        self._service = service
        self._addresses = Allowance(settings.requests_per_s, settings.requests_burst)
        self._callers = Allowance(settings.requests_per_s, settings.requests_burst)
        self._sessions = Sessions(settings.uploads, settings.upload_idle_s)

    def by_address(self) -> Middleware:
        """Goes before the door, so that wrong passwords count."""

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path not in FREE:
                self._take(self._addresses, address_of(request.transport))
            return await handler(request)

        return admit

    def by_caller(self) -> Middleware:
        """Goes behind the door, which knows who is who."""

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            if caller_of(request).known:
                self._take(self._callers, _client(request))
            return await handler(request)

        return admit

    def _take(self, allowance: Allowance, client: str) -> None:
        if allowance.per_s:
            with self._counting():
                allowance.take(client, time.monotonic())

    # Upload sessions.

    def check_uploads(self, request: web.Request) -> None:
        """Raises TooMany: who sends ``request`` may begin no more of them."""
        with self._counting():
            self._sessions.check(_client(request), time.monotonic())

    def upload_heard(self, request: web.Request, session: str) -> None:
        """``session`` was begun, or goes on."""
        self._sessions.heard(session, _client(request), time.monotonic())

    def upload_ended(self, session: str) -> None:
        """It is a blob now, or was given up."""
        self._sessions.ended(session)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        try:
            yield
        except TooMany as fault:
            metrics.LIMITED.labels(self._service, fault.details["limit"]).inc()
            raise


def _client(request: web.Request) -> str:
    """Who sends ``request``: whoever is logged in, or else an address."""
    caller = caller_of(request)
    return f"caller {caller}" if caller.known else address_of(request.transport)
