"""Bytes that no HTTP client would send, told to a proxy and an agent of a small real cluster.

They are the services as they run, with routes, limits, access and stores; only the client's
connection is in memory. What must hold is said by ``fuzz.answers``, and here.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import re
import threading
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from fuzz import answers
from fuzz.answers import Answer
from fuzz.line import Line, turns
from fuzz.requests import (
    AGENT_SEEDS,
    AUTHORIZED,
    CLIENT_SETTLES,
    PROXY_SEEDS,
    SESSION,
    SETUP,
    request,
)
from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.embedded_access import MAKE_ONE
from octopull.config.access import AccessSettings, TokenServiceSettings
from octopull.kernel.digest import Digest
from octopull.storage.disk import DiskStore
from support import access

T = TypeVar("T")
HANG_S = 1.0
TRIES = 4
"""The machine may have other things to do for a second; a server that hangs does so each time."""

STORES_EVERY = 1000
"""After so many inputs all that is stored is read."""

HEALTH_EVERY = 50
"""After so many, whoever comes next must be served."""

RULES: list[dict[str, Any]] = [
    {"who": ["anyone"], "repositories": ["golden/**", "hostile/**", "mounted"],
     "actions": ["pull", "push", "delete"]},
    {"who": ["group:builders"], "repositories": ["**"],
     "actions": ["pull", "push", "delete", "replicate", "admin"]},
]  # fmt: skip
_TOKEN = re.compile(r"/v2/[^?]*/blobs/uploads/([^/?]+)")
HEALTH = request("GET /health")


class Servers:
    """A cluster on an event loop of its own, which stands still between inputs.

    ``try_out`` raises what was found: an ``AssertionError``, or a ``TimeoutError`` for a hang.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = folder / "origin"
        self._factories: dict[int, Callable[[], asyncio.Protocol]] = {}
        self._loop = _Loop(self._factories)
        self._wrong: list[str] = []
        self._inputs, self._numbers = itertools.count(1), itertools.count(1)
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[Cluster] = self._loop.create_future()
        self._logged = _Logged(self._wrong)

    def __enter__(self) -> Self:
        self._logged.begin()
        self._loop.set_exception_handler(lambda _, told: self._wrong.append(str(told)))
        self._running = self._loop.create_task(self._run())
        self._cluster = self._loop.run_until_complete(self._ready)
        self._set_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._stop.set()
        self._loop.run_until_complete(self._running)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._logged.end()

    async def _run(self) -> None:
        files = access.files(self._folder / "access")
        access.write_rules(self._folder / "access" / "policy.yaml", RULES)
        tokens = TokenServiceSettings(key=MAKE_ONE, service="registry.example")
        settings = AccessSettings(**files, token_service=tokens)
        try:
            async with running(self._folder, 1, Ports(0, "127.0.0.1"), access=settings) as one:
                self._ready.set_result(one)
                await self._stop.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def _set_up(self) -> None:
        for data in SETUP:
            self._told(self._cluster.proxy.port, data)

    def proxy(self, data: bytes) -> None:
        """What a proxy is sent."""
        self._try_out(self._cluster.proxy.port, data)

    def agent(self, data: bytes) -> None:
        """What an agent is sent."""
        self._try_out(self._cluster.agents[0].port, data)

    def _try_out(self, port: int, data: bytes) -> None:
        told = self._told(port, data)
        if b"DELETE" in data and any(one.status == 202 for one in told):
            self._patiently(self._put_back)
        if next(self._inputs) % STORES_EVERY == 0:
            self.check_stores()
        assert not self._wrong, self._wrong

    async def _put_back(self) -> None:
        """What was deleted is there again."""
        for data, needed in SETUP.items():
            answers = [await self._ask(self._cluster.proxy.port, one) for one in needed]
            if any(one.status != 200 for answer in answers for one in answer):
                await self._converse(self._cluster.proxy.port, data)

    def _told(self, port: int, data: bytes) -> list[Answer]:
        return self._patiently(lambda: self._converse(port, data))

    def _patiently(self, asking: Callable[[], Coroutine[Any, Any, T]]) -> T:
        for _ in range(TRIES - 1):
            with contextlib.suppress(TimeoutError):
                return self._loop.run_until_complete(asking())
        return self._loop.run_until_complete(asking())

    async def _converse(self, port: int, data: bytes) -> list[Answer]:
        """One connection, and what must hold after it."""
        number = next(self._numbers)
        line = Line(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", port)
        line.connect(self._factories[port]())
        for part in (*data.split(CLIENT_SETTLES), HEALTH):
            line.feed(_with_session(part, bytes(line.sent)))
            await line.settle(HANG_S)
        told = answers.read(bytes(line.sent))
        await line.break_off(HANG_S)
        await self._expect_no_sessions(port, told)
        if number % HEALTH_EVERY == 0:
            (answer,) = await self._ask(port, HEALTH)
            assert answer.status == 200, answer
        return told

    async def _ask(self, port: int, data: bytes) -> list[Answer]:
        """One who keeps to the protocol."""
        line = Line("127.0.0.2", port)
        line.connect(self._factories[port]())
        line.feed(data)
        await line.settle(HANG_S)
        await line.break_off(HANG_S)
        return answers.read(bytes(line.sent))

    async def _expect_no_sessions(self, port: int, told: list[Answer]) -> None:
        """Of upload sessions there are those alone of which the client was told."""
        for one in told:
            session = _TOKEN.fullmatch(one.headers.get("location", ""))
            if session is None or one.status != 202:
                continue
            await self._ask(port, request(f"DELETE {session[0]}", AUTHORIZED))
        # What broke off may take a moment.
        await turns(self._no_sessions, lambda: False, HANG_S)

    def _no_sessions(self) -> bool:
        return not any((self._store / "uploads").iterdir())

    def forget(self) -> None:
        """What was logged so far was told."""
        self._wrong.clear()

    def check_stores(self) -> None:
        """Raises AssertionError: a file is no whole blob, nor beside one."""
        gc.collect()  # Tasks whose exception nobody took tell of it when they go.
        for folder in (self._store, self._folder / "agent-0"):
            store = DiskStore(folder)
            for file in (folder / "blobs").rglob("*"):
                if file.is_file() and not file.suffix:
                    Digest.parse(f"{file.parent.parent.name}:{file.name}")
            for digest in store.digests():
                store.read(digest, 1 << 30)


def _with_session(part: bytes, sent: bytes) -> bytes:
    """``part`` with the token of the upload session that was told of last, if it asks for that."""
    tokens = _TOKEN.findall(sent.decode("latin-1"))
    token = tokens[-1].split("\r")[0] if tokens else "none"
    return part.replace(SESSION, token.encode("latin-1"))


@dataclass(frozen=True, slots=True)
class Server:
    """One of ``Servers``, and bytes to begin with."""

    told_to: Callable[[Servers], Callable[[bytes], None]]
    seeds: tuple[bytes, ...]


SERVERS = {
    "requests to a proxy": Server(lambda servers: servers.proxy, PROXY_SEEDS),
    "requests to an agent": Server(lambda servers: servers.agent, AGENT_SEEDS),
}


class _Loop(asyncio.SelectorEventLoop):
    """Remembers by which factory connections to a port are served."""

    def __init__(self, factories: dict[int, Callable[[], asyncio.Protocol]]) -> None:
        super().__init__()
        self._factories = factories

    async def create_server(self, protocol_factory: Any, *args: Any, **more: Any) -> asyncio.Server:
        server = await super().create_server(protocol_factory, *args, **more)
        self._factories[server.sockets[0].getsockname()[1]] = protocol_factory
        return server


class _Logged(logging.Handler):
    """Errors and tracebacks of all logs, as long as it lasts."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._wrong = wrong
        self._before: dict[str, Any] = {}
        self._lock_ours = threading.Lock()

    def begin(self) -> None:
        logging.getLogger().addHandler(self)
        self._before = structlog.get_config()
        structlog.configure(processors=[self._look])

    def end(self) -> None:
        structlog.configure(**self._before)
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.WARNING:
            self._tell(self.format(record))

    def _look(self, _: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        if method in {"error", "exception", "critical"} or event.get("exc_info"):
            self._tell(repr(event))
        raise structlog.DropEvent

    def _tell(self, what: str) -> None:
        with self._lock_ours:
            self._wrong.append(what)
