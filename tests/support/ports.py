"""Ports for processes that can't be told to take any free one, or must come back to theirs.

They lie outside the range from which the kernel gives ports to connections, and to listeners that
take any: otherwise a port that was free a moment ago may be somebody's end of a connection by the
time its process starts.
"""

import itertools
import os
import socket
from pathlib import Path

FIRST = 10_000
"""Below it are the ports of services that may run on the machine."""

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _ours() -> range:
    """The ports that the kernel gives to nobody by itself."""
    low, high = map(int, EPHEMERAL.read_text().split())
    return max(range(FIRST, low), range(high + 1, 65_536), key=len) or range(FIRST, 65_536)


# Each is given once in a process; processes side by side begin at different places.
_ports = itertools.cycle(_ours())
_turns = itertools.islice(_ports, (os.getpid() * 997) % len(_ours()), None)


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
