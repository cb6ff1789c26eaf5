"""A cluster as it runs in production: each service a process, which can be killed and come back."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import yaml

from octopull.http.client import Http
from octopull.kernel.errors import Unavailable
from support.cluster import START_S, Process
from support.ports import free_port, free_ports
from support.waiting import until

LOOPBACK = "127.0.0.1"


class Running(Protocol):
    """A process of a node."""

    log: Path

    @property
    def pid(self) -> int: ...

    @property
    def alive(self) -> bool: ...

    def kill(self) -> None: ...

    def stop(self) -> int: ...


Launch = Callable[[Path, str, Path], Running]
"""Runs a verb with a config, and has it log to the first path."""


def launched(log: Path, verb: str, config: Path) -> Running:
    """The command, as anybody starts it."""
    return Process(log, verb, "--config", config)


@dataclass(frozen=True)
class Place:
    """Where a node is: the address it has, and how processes are started there."""

    host: str = LOOPBACK
    launch: Launch = launched


@dataclass
class Node:
    """One service at one address; its process comes and goes, its data stays unless it is wiped."""

    verb: str
    address: str
    folder: Path
    settings: dict[str, Any]
    launch: Launch = launched
    _process: Running | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Its verb and number."""
        return self.folder.name

    def start(self) -> None:
        """Run it; ``ready`` waits until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yaml"
        config.write_text(yaml.safe_dump({self.verb.replace("-", "_"): self.settings}))
        self._process = self.launch(self.folder / "log", self.verb, config)

    async def ready(self, http: Http) -> None:
        """Until it answers; it may say that others are away."""

        async def answers() -> bool:
            try:
                await http.call("GET", f"http://{self.address}/health", timeout_s=2)
            except Unavailable:
                return False
            return True

        await until(answers, START_S)

    @property
    def pid(self) -> int:
        """Of its process, which must run."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.alive

    def kill(self) -> None:
        """kill -9, at once."""
        assert self._process is not None
        self._process.kill()
        self._process = None

    def stop(self) -> None:
        """As an init system does; nothing if it isn't running."""
        assert self.end() == 0, (self.folder / "log").read_text()

    def end(self) -> int:
        """As ``stop``, but returns the exit code."""
        process, self._process = self._process, None
        return 0 if process is None else process.stop()

    def wipe(self) -> None:
        """What becomes of a lost disk."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)


@dataclass
class Production:
    """The nodes of one cluster, by service."""

    http: Http
    origins: list[Node]
    trackers: list[Node]
    tag_indexes: list[Node]
    proxies: list[Node]
    agents: list[Node]

    @property
    def nodes(self) -> list[Node]:
        """All of them, in an order in which they may start."""
        return [
            *self.origins, *self.trackers, *self.tag_indexes, *self.proxies, *self.agents,
        ]  # fmt: skip

    @property
    def by_verb(self) -> dict[str, list[Node]]:
        """Those of each service."""
        return {
            "origin": self.origins, "tracker": self.trackers, "tag-index": self.tag_indexes,
            "proxy": self.proxies, "agent": self.agents,
        }  # fmt: skip

    async def start(self, *nodes: Node) -> None:
        """Start ``nodes``, and wait until they answer."""
        for node in nodes:
            node.start()
        await asyncio.gather(*(node.ready(self.http) for node in nodes))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many there are of each service, and what all of it are told besides."""

    origins: int = 2
    trackers: int = 1
    tag_indexes: int = 1
    proxies: int = 1
    agents: int = 2
    replicas: int = 2
    origin: dict[str, Any] = field(default_factory=dict[str, Any])
    tracker: dict[str, Any] = field(default_factory=dict[str, Any])
    agent: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes each verb has."""
        return {
            "origin": self.origins, "tracker": self.trackers, "tag-index": self.tag_indexes,
            "proxy": self.proxies, "agent": self.agents,
        }  # fmt: skip

    def having(self, **changed: Any) -> "Shape":
        """The same but for these."""
        return replace(self, **changed)


def anywhere(name: str) -> Place:
    """A place for a node of that name: on this machine, as the command that anybody starts."""
    del name
    return Place()


@dataclass(frozen=True)
class _Site:
    """Where one node will be."""

    name: str
    place: Place
    address: str


def planned(
    folder: Path, http: Http, shape: Shape, places: Callable[[str], Place] = anywhere,
    prefix: str = "",
) -> Production:  # fmt: skip
    """A cluster none of whose processes runs yet; its data is in ``folder``.

    Names of nodes begin with ``prefix``.
    """

    def sites(verb: str, count: int) -> list[_Site]:
        found = []
        for number, port in enumerate(free_ports(count)):
            name = f"{prefix}{verb}-{number}"
            place = places(name)
            found.append(_Site(name, place, f"{place.host}:{port}"))
        return found

    def node(verb: str, site: _Site, **settings: Any) -> Node:
        own, host = folder / site.name, site.place.host
        listen = {"host": host, "port": int(site.address.rpartition(":")[2])}
        told = {**settings, "listen": listen}
        if verb in {"origin", "tag-index", "agent"}:
            told["data"] = str(own / "data")
        if verb in {"origin", "agent"}:
            told["peer"] = {"listen": {"host": host, "port": free_port()}}
        if verb == "origin" or (told.get("tag_indexes") and verb == "tag-index"):
            told["name"] = site.address
        return Node(verb, site.address, own, told, site.place.launch)

    at = {verb: sites(verb, count) for verb, count in shape.counts.items()}
    origins, trackers, tag_indexes = (
        [site.address for site in at[verb]] for verb in ("origin", "tracker", "tag-index")
    )
    ring = {"origins": origins, "replicas": shape.replicas}
    several = {"tag_indexes": tag_indexes} if shape.tag_indexes > 1 else {}
    settings: dict[str, dict[str, Any]] = {
        "origin": {**ring, **shape.origin},
        "tracker": {**ring, **shape.tracker},
        "tag-index": {**ring, **several},
        "proxy": {**ring, "tag_indexes": tag_indexes, "trackers": trackers},
        "agent": {"trackers": trackers, "tag_indexes": tag_indexes, **shape.agent},
    }
    return Production(
        http, *([node(verb, site, **settings[verb]) for site in at[verb]] for verb in settings)
    )


@asynccontextmanager
async def production(
    folder: Path, http: Http, shape: Shape, places: Callable[[str], Place] = anywhere
) -> AsyncIterator[Production]:
    """A cluster, all of which runs."""
    cluster = planned(folder, http, shape, places)
    with ExitStack() as running:
        for node in cluster.nodes:
            running.callback(node.stop)
        await cluster.start(*cluster.nodes)
        yield cluster
