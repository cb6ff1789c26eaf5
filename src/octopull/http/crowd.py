"""How many connections each address has, and an answer for those that are too many.

They are counted when they come, before anything is read, since those that never send a request are
the worst.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection

import msgspec

from octopull.kernel.errors import TooMany
from octopull.observability import logs, metrics
from octopull.oci.errors import body, refusal

log = logs.get("http")
Protocols = Callable[[], asyncio.Protocol]
COUNT_EVERY_S = 1.0


class Crowd:
    """Makes protocols by ``protocols``, at most ``most`` for one address; ``service`` counts.

    ``connected`` gives those that there are: none tells when it goes, so they are counted anew as
    soon as an address seems to have too many, but once in ``COUNT_EVERY_S``.
    """

    def __init__(
        self, protocols: Protocols, connected: Callable[[], Collection[asyncio.BaseProtocol]],
        most: int, service: str,
    ) -> None:  # fmt: skip
        self._protocols = protocols
        self._connected = connected
        self._most = most
        self._service = service
        self._counts = Counter[str]()
        self._counted_s = 0.0

    def __call__(self) -> asyncio.Protocol:
        """One for a connection that is about to come."""
        return _Gate(self) if self._most else self._protocols()

    def enter(self, transport: asyncio.BaseTransport) -> None:
        """Give ``transport`` its protocol, or an answer and its end."""
        address = address_of(transport)
        if self._counts[address] >= self._most:
            self._count(asyncio.get_running_loop().time())
        if self._counts[address] >= self._most:
            metrics.LIMITED.labels(self._service, "connections_per_address").inc()
            log.info("connection.refused", address=address, most=self._most)
            _refuse(transport, self._most)
            return
        self._counts[address] += 1
        protocol = self._protocols()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _count(self, now: float) -> None:
        if now - self._counted_s >= COUNT_EVERY_S:
            self._counted_s = now
            self._counts = Counter(map(_address, self._connected()))


class _Gate(asyncio.Protocol):
    """What a connection speaks to until it is let in; nothing is read before."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._crowd.enter(transport)


def address_of(transport: asyncio.BaseTransport | None) -> str:
    """Whose end of a connection it is; empty if it has ended."""
    peer = None if transport is None else transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def _address(protocol: asyncio.BaseProtocol) -> str:
    return address_of(getattr(protocol, "transport", None))


def _refuse(transport: asyncio.BaseTransport, most: int) -> None:
    fault = TooMany(
        f"too many connections from your address: at most {most} (limits.connections_per_address)"
    )
    content = msgspec.json.encode(body(fault))
    head = (
        f"HTTP/1.1 {refusal(fault).status} Too Many Requests\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    assert isinstance(transport, asyncio.WriteTransport)
    transport.write(head.encode() + content)
    transport.close()
