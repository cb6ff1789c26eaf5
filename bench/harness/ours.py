"""octopull as its users run it: the command ``octopull``, in processes of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.content import MIB
from harness.pairs import Sample
from harness.processes import cpu_s, peak_rss_mib
from support.cluster import Process, agent_config, up
from support.ports import free_port


@dataclass(frozen=True)
class Cluster:
    """``octopull up`` without agents: proxy, tag index, tracker and one origin in one process."""

    proxy: str
    document: dict[str, Any]
    pid: int


@dataclass(frozen=True)
class Agent:
    """An agent in a process of its own."""

    url: str
    process: Process
    config: Path

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def cluster(folder: Path, *words: str) -> Iterator[Cluster]:
    """A cluster with its data in ``folder``."""
    with up(folder, "--agents", "0", *words) as document:
        scheme = "https" if "--tls" in words else "http"
        yield Cluster(f"{scheme}://{document['proxy']}", document, document["pid"])


@contextmanager
def agent(
    folder: Path, of: Cluster, host: str = "127.0.0.1", prefix: tuple[str, ...] = (),
    tls: tuple[Path, Path] | None = None, peers_tls: dict[str, str] | None = None, **settings: Any,
) -> Iterator[Agent]:  # fmt: skip
    """An agent of cluster ``of``; ``prefix`` runs it on another host, ``settings`` are its config's.

    ``tls`` is for its clients, ``peers_tls`` for the cluster.
    """
    port = free_port()
    files = {"certificate": str(tls[0]), "key": str(tls[1])} if tls else None
    config = agent_config(folder, of.document, port, host, files)
    if peers_tls:
        settings["tls"] = peers_tls
    if settings:
        document = yaml.safe_load(config.read_text())
        document["agent"].update(settings)
        config.write_text(yaml.safe_dump(document))
    process = Process(folder / "log", "agent", "--config", config, prefix=prefix)
    try:
        process.wait_for_text(f"agent listens on {host}:{port}")
        yield Agent(f"{'https' if tls else 'http'}://{host}:{port}", process, config)
    finally:
        process.stop()


@dataclass(frozen=True)
class Tracker:
    """A tracker in a process of its own."""

    url: str
    pid: int


@contextmanager
def tracker(folder: Path, of: Cluster, **more: Any) -> Iterator[Tracker]:
    """A tracker of cluster ``of``; ``more`` are settings of its config."""
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "tracker.yaml"
    listen = {"host": "127.0.0.1", "port": port}
    settings = {"origins": of.document["origins"], "replicas": 1, "listen": listen}
    config.write_text(yaml.safe_dump({"tracker": settings | more}))
    process = Process(folder / "log", "tracker", "--config", config)
    try:
        process.wait_for_text(f"tracker listens on 127.0.0.1:{port}")
        yield Tracker(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.stop()


@dataclass
class Meter:
    """CPU seconds of service processes between two readings."""

    pids: list[int]
    _before: float = 0.0

    def start(self) -> None:
        self._before = cpu_s(self.pids)

    def used_s(self) -> float:
        return cpu_s(self.pids) - self._before

    def throughput(self, client: Callable[[], float], size: int) -> Sample:
        """MiB/s of a client that moves ``size`` bytes and returns its own CPU seconds."""
        self.start()
        started = time.monotonic()
        client_s = client()
        wall_s = time.monotonic() - started
        return Sample(size / MIB / wall_s, client_s + self.used_s(), size)

    def rss_mib(self) -> float:
        return peak_rss_mib(self.pids)
