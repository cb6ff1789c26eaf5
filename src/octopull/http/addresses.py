"""Where the hosts of a cluster are, while DNS answers and while it does not."""

import asyncio
import socket
import time
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from octopull.config.membership import DnsSettings
from octopull.kernel.errors import Unavailable
from octopull.observability import logs
from octopull.placement.lookups import lookups
from octopull.runtime.resolver import Resolver

log = logs.get("dns")
FRESH_S = 10.0
"""As long as aiohttp, too, keeps an answer."""

STALE_S = 0.5
"""So long a new answer is waited for where an old one is known: calls must not wait for a DNS that
is away."""

KNOWN_MAX = 10_000
Key = tuple[str, int, socket.AddressFamily]
Known = tuple[float, list[ResolveResult]]


class Addresses(AbstractResolver):
    """Asks ``resolver``, if there is one, and for what it does not know the system.

    The last good answer is kept: where nobody answers, hosts are where they were.
    """

    def __init__(self, resolver: Resolver | None) -> None:
        self._resolver = resolver
        self._system = ThreadedResolver()
        self._known: dict[Key, Known] = {}
        self._asking: dict[Key, asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of ``host``.

        Raises:
            OSError: there is none, nor was there ever; or nobody asks any more.

        """
        key = host, port, family
        until_s, known = self._known.get(key, (0.0, []))
        if time.monotonic() < until_s:
            return known
        asking = self._asking.get(key) or self._begin(key)
        await asyncio.wait({asking}, timeout=STALE_S if known else None)
        if asking.cancelled():
            raise OSError(None, f"broken off: where {host} is")
        if asking.done() and (not known or asking.exception() is None):
            return asking.result()
        # What comes later counts all the same.
        self._known[key] = time.monotonic() + FRESH_S, known
        return known

    def _begin(self, key: Key) -> asyncio.Task[list[ResolveResult]]:
        task = asyncio.get_running_loop().create_task(self._ask(*key))
        self._asking[key] = task
        task.add_done_callback(lambda task: self._answered(key, task))
        return task

    def _answered(self, key: Key, task: asyncio.Task[list[ResolveResult]]) -> None:
        del self._asking[key]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.info("addresses.unknown", host=key[0], reason=repr(error))
            return
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[key] = time.monotonic() + FRESH_S, task.result()

    async def _ask(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        if self._resolver is not None:
            try:
                addresses, _ = await self._resolver.addresses(host)
            except Unavailable as fault:
                log.info("addresses.unknown", host=host, reason=str(fault))
                addresses = []
            found = [_result(host, address, port) for address in addresses]
            suitable = [one for one in found if family in {socket.AF_UNSPEC, one["family"]}]
            if suitable:
                return suitable
        return await self._system.resolve(host, port, family)

    async def close(self) -> None:
        """Ask no further."""
        for task in list(self._asking.values()):
            task.cancel()


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )


def addresses_by(dns: DnsSettings, *lists: Sequence[str]) -> AbstractResolver | None:
    """By the servers of ``dns``, if it names some; for a service whose hosts are ``lists``.

    None, for what aiohttp does by itself, where neither servers nor lookups are named.

    Raises:
        Misuse: dnspython is not installed.

    """
    if dns.servers:
        return Addresses(Resolver(dns.addresses, dns.timeout_s))
    return Addresses(None) if any(map(lookups, lists)) else None
