"""Hosts are where the configured DNS says, and where it said last while it says nothing."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopull.config.membership import DnsSettings
from octopull.http import addresses
from octopull.http.addresses import Addresses, addresses_by
from octopull.kernel.errors import Misuse
from support.servers.dnsmasq import ZONE, Dns, dnsmasq, needs_dnsmasq
from support.waiting import until

NAME = f"origin.{ZONE}"
WAIT_S = 0.05


@pytest.fixture
def dns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dns]:
    monkeypatch.setattr(addresses, "FRESH_S", 0.0)
    with dnsmasq(tmp_path) as one:
        yield one


async def found(by: Addresses, name: str = NAME, *, six: bool = False) -> list[str]:
    family = socket.AF_INET6 if six else socket.AF_INET
    return [one["host"] for one in await by.resolve(name, 80, family)]


def by_server(dns: Dns) -> Addresses:
    one = addresses_by(DnsSettings(servers=[dns.server], timeout_s=1.0))
    assert isinstance(one, Addresses)
    return one


@needs_dnsmasq
async def test_the_configured_servers_are_asked_and_the_system_for_what_they_do_not_know(
    dns: Dns,
) -> None:
    dns.serve(Dns.host("origin", "127.0.0.9", "::1"))
    one = by_server(dns)
    assert await found(one) == ["127.0.0.9"]
    assert await found(one, six=True) == ["::1"]
    assert await found(one, "localhost") == ["127.0.0.1"]
    dns.serve(Dns.host("origin", "127.0.0.8"))
    assert await found(one) == ["127.0.0.8"]


@needs_dnsmasq
async def test_while_dns_is_away_or_has_forgotten_a_host_is_where_it_was(
    dns: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns.serve(Dns.host("origin", "127.0.0.9"))
    one = by_server(dns)
    assert await found(one) == ["127.0.0.9"]
    monkeypatch.setattr(addresses, "STALE_S", WAIT_S)
    dns.stop()
    began = time.monotonic()
    assert await found(one) == ["127.0.0.9"]
    assert time.monotonic() - began < 10 * WAIT_S
    monkeypatch.setattr(addresses, "STALE_S", 5.0)
    dns.serve()
    assert await found(one) == ["127.0.0.9"]
    with pytest.raises(socket.gaierror):
        await found(one, f"other.{ZONE}")


@needs_dnsmasq
async def test_an_answer_that_comes_late_counts_all_the_same(
    dns: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns.serve(Dns.host("origin", "127.0.0.9"))
    one = by_server(dns)
    assert await found(one) == ["127.0.0.9"]
    monkeypatch.setattr(addresses, "STALE_S", 0.0)
    dns.serve(Dns.host("origin", "127.0.0.8"))
    assert await found(one) == ["127.0.0.9"]

    async def learnt() -> bool:
        return await found(one) == ["127.0.0.8"]

    await until(learnt, 10.0)


@needs_dnsmasq
async def test_nothing_is_asked_for_once_it_is_closed(dns: Dns) -> None:
    one = by_server(dns)
    asking = asyncio.create_task(found(one))
    await asyncio.sleep(0)
    await one.close()
    with pytest.raises(OSError, match="broken off"):
        await asking


@needs_dnsmasq
async def test_an_answer_counts_for_a_while(dns: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "FRESH_S", 60.0)
    dns.serve(Dns.host("origin", "127.0.0.9"))
    one = by_server(dns)
    assert await found(one) == ["127.0.0.9"]
    dns.serve(Dns.host("origin", "127.0.0.8"))
    assert await found(one) == ["127.0.0.9"]


async def test_where_nothing_is_looked_up_all_is_left_to_the_system() -> None:
    assert addresses_by(DnsSettings(), ["a:1"], ["b:1"]) is None
    one = addresses_by(DnsSettings(), ["a:1"], ["srv://_a._tcp.example"])
    assert isinstance(one, Addresses)
    assert await found(one, "localhost") == ["127.0.0.1"]
    with pytest.raises(Misuse):
        addresses_by(DnsSettings(), ["srv://"])
