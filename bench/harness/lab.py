"""Test hosts behind capped links: network namespaces on one bridge, which is in a namespace too.

    hub (10.78.0.1, uncapped): the bridge, and whatever runs beside it
     ├── v1 ── eth0  host 1 (10.78.1.1)
     └── v2 ── eth0  host 2 (10.78.1.2) ...

The machine's own network is not touched: no firewall rule of its bridges holds here, and a lab is
gone with its namespaces. What a killed run left, processes too, goes before the next lab is made.
"""

import ctypes
import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from octopull.kernel.errors import Unavailable

PREFIX = "octobench-"
HOSTS_MAX = 250
LOCK = Path("/run/octobench.lock")
NETNS = Path("/run/netns")
CLONE_NEWNET = 0x40000000
BITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}

_libc = ctypes.CDLL(None, use_errno=True)


def bits_per_s(rate: str) -> int:
    """A rate as tc writes it, in bit/s.

    Raises:
        ValueError: not a whole number of kbit, mbit or gbit.

    """
    match = re.fullmatch(r"([1-9]\d*)([kmg]bit)", rate)
    if match is None:
        raise ValueError(f"{rate} is no rate such as 100mbit")
    return int(match[1]) * BITS[match[2]]


@dataclass(frozen=True)
class Host:
    """One host of a lab."""

    name: str
    address: str

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets made and processes started within are this host's, and stay so."""
        with Path("/proc/thread-self/ns/net").open("rb") as here:
            _enter(NETNS / self.name)
            try:
                yield
            finally:
                _set_namespace(here.fileno())


def _enter(path: Path) -> None:
    with path.open("rb") as there:
        _set_namespace(there.fileno())


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True)
class Lab:
    """The hub, and hosts that reach each other and the hub."""

    hub: Host
    hosts: list[Host]

    def cap(self, rate: str) -> None:
        """Hold each host's link to ``rate`` (of tc) in both directions."""
        shape = f"root tbf rate {rate} burst 256kb latency 50ms"
        for host in self.hosts:
            _batch("tc", host.name, [f"qdisc add dev eth0 {shape}"])
        ends = range(1, len(self.hosts) + 1)
        _batch("tc", self.hub.name, [f"qdisc add dev v{end} {shape}" for end in ends])


@contextmanager
def lab(count: int) -> Iterator[Lab]:
    """``count`` hosts (1 to ``HOSTS_MAX``), not capped yet; one lab at a time on a machine.

    Raises:
        Unavailable: there is one.

    """
    hub = Host(f"{PREFIX}hub", "10.78.0.1")
    hosts = [Host(f"{PREFIX}{end}", f"10.78.1.{end}") for end in range(1, count + 1)]
    with _alone():
        clean_up()
        try:
            _make(hub, hosts)
            yield Lab(hub, hosts)
        finally:
            clean_up()


def clean_up() -> None:
    """Take down whatever any lab left: its processes, its namespaces, and so its links."""
    names = [path.name for path in NETNS.glob(f"{PREFIX}*")]
    for name in names:
        for pid in _output("ip", "netns", "pids", name).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextmanager
def _alone() -> Iterator[None]:
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable("another lab is up on this machine", lock=LOCK) from None
        yield


def _make(hub: Host, hosts: list[Host]) -> None:
    for host in (hub, *hosts):
        _output("ip", "netns", "add", host.name)
    _batch("ip", hub.name, ["link set lo up", "link add br0 type bridge",
                            f"addr add {hub.address}/16 dev br0", "link set br0 up"])  # fmt: skip
    for end, host in enumerate(hosts, 1):
        _batch("ip", hub.name, [
            f"link add v{end} type veth peer name eth0 netns {host.name}",
            f"link set v{end} master br0 up",
        ])  # fmt: skip
        _batch("ip", host.name, ["link set lo up", f"addr add {host.address}/16 dev eth0",
                                 "link set eth0 up"])  # fmt: skip


def _batch(tool: str, name: str, lines: Iterable[str]) -> None:
    _output(tool, "-n", name, "-batch", "-", text="\n".join(lines) + "\n")


def _output(*words: str, text: str = "") -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout
