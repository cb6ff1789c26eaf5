"""Host names become addresses in threads of their own.

The system's resolver blocks for as long as whoever answers for a name likes. In the loop's own
threads, by which disks are read and written, some slow names would stall all of that.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS = 4
LOOKUPS_MAX = 256
"""Under way and waiting; one more fails at once."""

Found = tuple[socket.AddressFamily, Any]
"""A family, and what a socket of it connects to."""


def ask_system(host: str, port: int) -> Found:
    """The first that the system's resolver names; blocks.

    Raises:
        OSError: there is no such host. ValueError: a name that no resolver takes.

    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, address


class HostNames:
    """Finds hosts: by ``look_up``, in a thread, those that are given by name."""

    def __init__(self, look_up: Callable[[str, int], Found] = ask_system) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(THREADS, "look up")
        self._lookups = 0

    async def find(self, host: str, port: int) -> Found:
        """Where ``host`` is; the deadline is the caller's.

        Raises:
            OSError: as ``look_up``, or too many hosts are looked for.
            ValueError: as ``look_up``.

        """
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            return await self._by_name(host, port)
        return socket.AF_INET if version == 4 else socket.AF_INET6, (host, port)

    async def _by_name(self, host: str, port: int) -> Found:
        if self._lookups >= LOOKUPS_MAX:
            raise OSError("too many host names are looked up")
        self._lookups += 1
        try:
            # Given up before a thread took it, it is none's work any more.
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._look_up, host, port
            )
        finally:
            self._lookups -= 1

    def close(self) -> None:
        """Begin no more lookups."""
        self._threads.shutdown(wait=False, cancel_futures=True)
