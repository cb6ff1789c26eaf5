"""Ports for processes that can't be told to take any free one, or must come back to theirs.

They lie outside the range from which the kernel gives ports to connections, and to listeners that
take any: otherwise a port that was free a moment ago may be somebody's end of a connection by the
time its process starts. Runs of tests side by side have theirs from different blocks.
"""

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

FIRST = 10_000
"""Below it are the ports of services that may run on the machine."""

BLOCK = 500
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_held: list[int] = []
"""Files whose locks say which blocks are ours, until this process ends."""


def _range() -> range:
    """The ports that the kernel gives to nobody by itself."""
    low, high = map(int, EPHEMERAL.read_text().split())
    return max(range(FIRST, low), range(high + 1, 65_536), key=len) or range(FIRST, 65_536)


def _ours() -> Iterator[int]:
    """Each port once."""
    ports = _range()
    for start in ports[::BLOCK]:
        path = Path(tempfile.gettempdir()) / f"octopull-ports-{start}.lock"
        if not _claimed(path):
            continue
        yield from range(start, min(start + BLOCK, ports.stop))
    raise RuntimeError("no port is left")


def _claimed(path: Path) -> bool:
    """Whether nobody else has it, and we do now."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _held.append(fd)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


_turns = _ours()


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Different ones, that nobody listened on a moment ago."""
    free = (port for port in _turns if _is_free(host, port))
    return list(itertools.islice(free, count))


def free_port(host: str = "127.0.0.1") -> int:
    """One of them."""
    return free_ports(1, host)[0]


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True
