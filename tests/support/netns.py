"""A test host behind a capped link: a network namespace with one veth pair to this machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HERE, THERE = "10.79.0.1", "10.79.0.2"


@dataclass(frozen=True)
class CappedHost:
    """The namespace ``name`` at the address ``there``; ``prefix`` runs a command on it."""

    name: str
    here: str
    there: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)


def lacking() -> list[str]:
    """What this machine lacks for it."""
    missing = [word for word in ("ip", "tc", "curl") if shutil.which(word) is None]
    return missing if os.geteuid() == 0 else [*missing, "root"]


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextmanager
def capped_host(rate: str, here: str = HERE, there: str = THERE) -> Iterator[CappedHost]:
    """A host ``there`` whose link to us, ``here``, is capped at ``rate`` both ways (tc tbf)."""
    name, ours = f"octo{os.getpid()}", f"ov{os.getpid()}"
    shape = ("root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms")
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "addr", "add", f"{here}/24", "dev", ours)
        _run("ip", "link", "set", ours, "up")
        _run("ip", "-n", name, "addr", "add", f"{there}/24", "dev", "eth0")
        _run("ip", "-n", name, "link", "set", "eth0", "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "eth0", *shape)
        _run("tc", "qdisc", "add", "dev", ours, *shape)
        yield CappedHost(name, here, there)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", ours], check=False, capture_output=True)
