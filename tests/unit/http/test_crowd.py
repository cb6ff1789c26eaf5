"""Whose connections are counted together, and for how long."""

import asyncio

import pytest

from octopull.http import crowd
from octopull.http.crowd import Crowd, address_of, of_clients


class End(asyncio.Transport):
    """Our end of a connection from ``address``."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Connected(asyncio.Protocol):
    """A connection, as servers keep them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


def test_a_network_of_ipv6_is_one_client() -> None:
    assert address_of(End("2001:db8::1")) == address_of(End("2001:db8::ffff:2"))
    assert address_of(End("2001:db8::1")) != address_of(End("2001:db8:0:1::1"))
    assert address_of(End("10.0.0.1")) != address_of(End("10.0.0.2"))
    assert not address_of(None)


async def test_addresses_that_left_are_forgotten_when_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd, "ADDRESSES_MAX", 3)
    monkeypatch.setattr(crowd, "COUNT_EVERY_S", 0.0)
    stays = Connected()
    stays.connection_made(End("10.0.0.1"))
    counted = Crowd(Connected, lambda: [stays], of_clients(2), "test")
    for last in range(1, 9):
        counted.enter(End(f"10.0.0.{last}"))
        assert len(counted._counts) <= 3
    # Who is there still counts.
    assert counted._counts["10.0.0.1"] == 1
