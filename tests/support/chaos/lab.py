"""A host for each node: a network namespace on one bridge, and a small disk in memory."""

import itertools
import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from support.chaos.drives import Drive, attempt, run
from support.chaos.forks import Forked, Forks
from support.production import Place

_NUMBERS = itertools.count()
COMMANDS = ("ip", "iptables", "mount")


def lacking() -> list[str]:
    """What this machine lacks for it."""
    missing = [word for word in COMMANDS if shutil.which(word) is None]
    return missing if os.geteuid() == 0 else [*missing, "root"]


@dataclass(frozen=True)
class Host:
    """One of them."""

    number: int
    name: str
    address: str
    folder: Path

    @property
    def link(self) -> str:
        """Our end of its link."""
        return f"v{self.name}"

    @property
    def clock(self) -> Path:
        """The file that says how wrong its clock is."""
        return self.folder / "clock"

    @property
    def disk(self) -> Path:
        """Where its data is."""
        return self.folder / "data"


class Lab:
    """Hosts for nodes whose folders are in ``folder``; open it with ``with``."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self._folder = folder
        self._forks = forks
        self._stack = ExitStack()
        own = os.getpid()
        self._name = f"o{own:x}x{next(_NUMBERS) % 1000}"
        self._net = f"10.{100 + (own >> 8) % 100}.{own % 256}"
        self.hosts: dict[str, Host] = {}
        self.drives: dict[str, Drive] = {}

    def __enter__(self) -> Self:
        run("ip", "link", "add", self._name, "type", "bridge")
        self._stack.callback(attempt, "ip", "link", "del", self._name)
        run("ip", "addr", "add", f"{self._net}.1/24", "dev", self._name)
        run("ip", "link", "set", self._name, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._stack.close()

    def place(self, node: str) -> Place:
        """A new host for the node of that name."""
        number = len(self.hosts) + 2
        host = Host(number, f"{self._name}n{number}", f"{self._net}.{number}", self._folder / node)
        self.hosts[node] = host
        self._link(host)
        self.drives[node] = Drive(host.disk, self._stack)
        host.clock.write_text("+0")

        def launch(log: Path, verb: str, config: Path) -> Forked:
            return self._forks.start(
                log, verb, "--config", str(config), namespace=host.name, clock=host.clock
            )

        return Place(host.address, launch)

    def _link(self, host: Host) -> None:
        run("ip", "netns", "add", host.name)
        self._stack.callback(attempt, "ip", "netns", "del", host.name)
        run("ip", "link", "add", host.link, "type", "veth", "peer", "name", "eth0",
             "netns", host.name)  # fmt: skip
        run("ip", "link", "set", host.link, "master", self._name, "up")
        run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run("ip", "-n", host.name, "link", "set", device, "up")

    def cut(self, node: str) -> None:
        """Take the link of ``node`` down."""
        run("ip", "link", "set", self.hosts[node].link, "down")

    def mend(self, node: str) -> None:
        """Take it up again."""
        run("ip", "link", "set", self.hosts[node].link, "up")

    def part(self, node: str, others: Iterable[str]) -> None:
        """Let nothing pass between ``node`` and ``others``."""
        self._filter("-A", node, others)

    def join(self, node: str, others: Iterable[str]) -> None:
        """Let everything pass between them again."""
        self._filter("-D", node, others)

    def _filter(self, change: str, node: str, others: Iterable[str]) -> None:
        within = "ip", "netns", "exec", self.hosts[node].name, "iptables", "-w"
        for other in others:
            for chain, side in (("INPUT", "-s"), ("OUTPUT", "-d")):
                run(*within, change, chain, side, self.hosts[other].address, "-j", "DROP")
