"""How many connections each address has, and an answer for those that are too many.

They are counted when they come, before anything is read, since those that never send a request are
the worst.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from octopull.kernel.errors import TooMany
from octopull.observability import logs, metrics
from octopull.oci.errors import body, refusal
from octopull.runtime.sockets import holder_of

log = logs.get("http")
Protocols = Callable[[], asyncio.Protocol]
COUNT_EVERY_S = 1.0
ADDRESSES_MAX = 4096
"""More are counted anew, so that those that left are forgotten."""

STRANGERS_MAX = 64
"""At a port that is for services alone; probes of health need a few."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many connections of a kind an address may have."""

    most: int
    """0: as many as it likes."""
    counted: Callable[[asyncio.BaseTransport], bool]
    told: str
    """What a client that has too many is told of the limit."""


def of_clients(most: int) -> Share:
    """All connections count."""
    return Share(most, lambda _: True, "limits.connections_per_address")


def of_strangers() -> Share:
    """Those count that showed no certificate where others do."""
    return Share(
        STRANGERS_MAX, lambda transport: not transport.get_extra_info("peercert"),
        "without a certificate",
    )  # fmt: skip


class Crowd:
    """Makes protocols by ``protocols``, as many as an address's ``share``; ``service`` counts.

    ``connected`` gives those that there are: none tells when it goes, so they are counted anew as
    soon as an address seems to have too many, but once in ``COUNT_EVERY_S``.
    """

    def __init__(
        self, protocols: Protocols, connected: Callable[[], Collection[asyncio.BaseProtocol]],
        share: Share, service: str,
    ) -> None:  # fmt: skip
        self._protocols = protocols
        self._connected = connected
        self._share = share
        self._service = service
        self._counts = Counter[str]()
        self._counted_s = 0.0

    def __call__(self) -> asyncio.Protocol:
        """One for a connection that is about to come."""
        return _Gate(self) if self._share.most else self._protocols()

    def enter(self, transport: asyncio.BaseTransport) -> None:
        """Give ``transport`` its protocol, or an answer and its end."""
        if self._share.counted(transport):
            address = address_of(transport)
            if self._full(address):
                metrics.LIMITED.labels(self._service, "connections_per_address").inc()
                log.info("connection.refused", address=address, most=self._share.most)
                _refuse(transport, self._share)
                return
            self._counts[address] += 1
        protocol = self._protocols()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _full(self, address: str) -> bool:
        if self._counts[address] >= self._share.most or len(self._counts) >= ADDRESSES_MAX:
            self._count(asyncio.get_running_loop().time())
        return self._counts[address] >= self._share.most

    def _count(self, now: float) -> None:
        if now - self._counted_s >= COUNT_EVERY_S:
            self._counted_s = now
            there = (getattr(one, "transport", None) for one in self._connected())
            self._counts = Counter(
                address_of(one) for one in there if one is not None and self._share.counted(one)
            )


class _Gate(asyncio.Protocol):
    """What a connection speaks to until it is let in; nothing is read before."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._crowd.enter(transport)


def address_of(transport: asyncio.BaseTransport | None) -> str:
    """Whose end of a connection it is, of IPv6 a network; empty if it has ended."""
    peer = None if transport is None else transport.get_extra_info("peername")
    return holder_of(str(peer[0])) if peer else ""


def _refuse(transport: asyncio.BaseTransport, share: Share) -> None:
    fault = TooMany(f"too many connections from your address: at most {share.most} ({share.told})")
    content = msgspec.json.encode(body(fault))
    head = (
        f"HTTP/1.1 {refusal(fault).status} Too Many Requests\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    assert isinstance(transport, asyncio.WriteTransport)
    transport.write(head.encode() + content)
    transport.close()
