"""A listening HTTP server with the endpoints every service has, and an orderly end."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import web

from octopull.config.services import Listen
from octopull.config.tls import Tls
from octopull.http.callers import only_for_services, while_believed
from octopull.http.crowd import Crowd, of_clients, of_strangers
from octopull.http.protocol import Protocol
from octopull.http.server import SLOW_CLIENTS
from octopull.http.tls import Protocols, TlsServer
from octopull.kernel.errors import Fault, Misuse, Unavailable
from octopull.observability import logs, metrics
from octopull.runtime.sockets import BACKLOG, close, listening
from octopull.runtime.tasks import Tasks
from octopull.security.inspection import look
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading, following
from octopull.security.tls import authorities_of, server_context

SHUTDOWN_S = 10.0
"""How long requests under way may go on after a stop was asked for."""

Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a service can be reached now."""

    service: str
    host: str
    port: int
    peer_port: int = 0
    secure: bool = False
    admin_port: int = 0
    """Of what is of the service itself; 0: it has no port of its own."""

    @property
    def address(self) -> str:
        """``host:port``; an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """``http://host:port``, or ``https`` where it speaks TLS."""
        return f"{'https' if self.secure else 'http'}://{self.address}"

    def with_peer(self, port: int) -> "Listening":
        """The same service, whose peer port is ``port``."""
        return replace(self, peer_port=port)


@dataclass(slots=True)
class AdminPort:
    """The port for what is of the service itself; 0 until it listens, or if there is none."""

    port: int = 0

    def took(self, request: web.Request) -> bool:
        """Whether ``request`` came in by it."""
        if request.transport is None or not self.port:
            return False
        return bool(request.transport.get_extra_info("sockname")[1] == self.port)


ADMIN = web.AppKey("admin", AdminPort)


@asynccontextmanager
async def serve(
    app: web.Application, service: str, listen: Listen, checks: Sequence[Check] = (),
    tls: Reloading[Mutual] | None = None, admin: Listen | None = None, crowd_max: int = 0,
) -> AsyncIterator[Listening]:  # fmt: skip
    """Serve ``app`` with ``/health``, ``/readiness`` and ``/metrics`` until the block ends.

    ``checks`` say, by raising a fault, what readiness lacks. With ``tls`` it is for services of the
    cluster alone. On ``admin`` the same is served: whoever cares asks ``app[ADMIN]`` which port a
    request came in by. An address may have ``crowd_max`` connections, if that is not 0; with
    ``tls`` a few, of those that show no certificate.

    Raises:
        Unavailable: the address is taken or not ours.
        Misuse: the files of ``listen.tls`` are wrong; ``admin`` has the same port, on another host.

    """
    _add_standing_routes(app, checks)
    believing = _Believing({})
    if tls is not None:
        # Right behind what answers faults: nobody else may be asked anything before.
        app.middlewares.insert(1, only_for_services(service, tls))
    else:
        app.middlewares.insert(1, while_believed(believing.at))
    app[ADMIN] = AdminPort()
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        async with AsyncExitStack() as sites, Tasks() as tasks:
            server = runner.server
            assert server is not None
            protocols = partial(Protocol, server, service)
            if admin is not None:
                app[ADMIN].port = await sites.enter_async_context(
                    _site(protocols, admin, tls, believing)
                )
            share = of_strangers() if tls is not None else of_clients(crowd_max)
            crowd = Crowd(protocols, lambda: server.connections, share, service)
            port = await sites.enter_async_context(_site(crowd, listen, tls, believing))
            if port == app[ADMIN].port:
                raise Misuse("admin needs a port of its own: by its number requests are told apart",
                             port=port)  # fmt: skip
            tasks.start(app[SLOW_CLIENTS].sweep(server), "close idle connections")
            where = Listening(
                service, listen.host, port, admin_port=app[ADMIN].port,
                secure=listen.tls is not None or tls is not None,
            )  # fmt: skip
            logs.get(service).info("service.listening", address=where.url)
            yield where
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _site(
    protocols: Protocols, listen: Listen, tls: Reloading[Mutual] | None, believing: "_Believing"
) -> AsyncIterator[int]:
    """Accept connections until the block ends; the port."""
    if tls is not None:
        async with _secure(protocols, listen, lambda: tls.current.serving) as port:
            yield port
    elif listen.tls is not None:
        async with (
            _followed(listen.tls) as reloading,
            _secure(protocols, listen, lambda: reloading.current.context) as port,
        ):
            believing.ports[port] = reloading
            yield port
    else:
        try:
            server = await asyncio.get_running_loop().create_server(
                protocols, listen.host, listen.port, backlog=BACKLOG
            )
        except OSError as error:
            raise Unavailable(f"cannot listen on {listen.host}:{listen.port}: {error}") from error
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            await close(server)


@asynccontextmanager
async def _secure(
    protocols: Protocols, listen: Listen, context: Callable[[], ssl.SSLContext]
) -> AsyncIterator[int]:
    server = TlsServer(listening(listen.host, listen.port), context, protocols)
    try:
        yield server.port
    finally:
        await server.close()


@dataclass(frozen=True, slots=True)
class _Serving:
    """``listen.tls``, made from one state of its files."""

    context: ssl.SSLContext
    ends_at: float
    authorities: frozenset[bytes]
    """Those whose clients' certificates are believed, in DER."""


@dataclass(frozen=True, slots=True)
class _Believing:
    """What each port of a service believes that has a certificate of its own."""

    ports: dict[int, Reloading[_Serving]]

    def at(self, request: web.Request) -> _Serving | None:
        """Where ``request`` came in."""
        here = request.transport and request.transport.get_extra_info("sockname")
        reloading = self.ports.get(here[1]) if here else None
        return None if reloading is None else reloading.current


def _followed(files: Tls) -> AbstractAsyncContextManager[Reloading[_Serving]]:
    def load() -> _Serving:
        context = server_context(files)
        known = look(context, files.certificate)
        believed = authorities_of(files.authority) if files.authority else frozenset[bytes]()
        return _Serving(context, known.ends_at, believed)

    paths = [files.certificate, files.key, *([files.authority] if files.authority else [])]
    return following(paths, load)


def _add_standing_routes(app: web.Application, checks: Sequence[Check]) -> None:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readiness(_: web.Request) -> web.Response:
        lacking = []
        for check in checks:
            try:
                await check()
            except Fault as fault:
                lacking.append(str(fault))
        status = 503 if lacking else 200
        return web.json_response({"ready": not lacking, "lacking": lacking}, status=status)

    async def numbers(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain"})

    app.router.add_get("/health", health)
    app.router.add_get("/readiness", readiness)
    app.router.add_get("/metrics", numbers)
