"""What DNS says, asked of a real server: members, how long that counts, and when nobody knows."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopull.config.membership import DnsSettings
from octopull.kernel.errors import Unavailable
from octopull.placement.lookups import Lookup
from octopull.runtime.resolver import Found, Resolver
from support.servers.dnsmasq import TTL_S, ZONE, Dns, dnsmasq, needs_dnsmasq

pytestmark = needs_dnsmasq
NAME = f"origins.{ZONE}"
SERVICE = f"_octopull-origin._tcp.{ZONE}"


@pytest.fixture
def dns(tmp_path: Path) -> Iterator[Dns]:
    with dnsmasq(tmp_path) as one:
        yield one


def resolver(*servers: str, timeout_s: float = 5.0) -> Resolver:
    return Resolver(DnsSettings(servers=list(servers)).addresses, timeout_s)


async def test_each_address_of_a_name_is_a_member(dns: Dns) -> None:
    dns.serve(Dns.host("origins", "127.0.0.1", "127.0.0.2", "::1"))
    found = await resolver(dns.server).look_up(Lookup(NAME, 5010))
    expected = {"127.0.0.1:5010": 1.0, "127.0.0.2:5010": 1.0, "[::1]:5010": 1.0}
    assert found == Found(expected, TTL_S)


async def test_each_target_of_a_service_is_a_member_by_its_name_and_port(dns: Dns) -> None:
    dns.serve(
        Dns.service("_octopull-origin._tcp", f"a.{ZONE}:5010", weight=10),
        Dns.service("_octopull-origin._tcp", f"b.{ZONE}:5011", weight=20),
        Dns.service("_octopull-origin._tcp", f"c.{ZONE}:5010", priority=1),
    )
    found = await resolver(dns.server).look_up(Lookup(SERVICE))
    expected = {f"a.{ZONE}:5010": 1.0, f"b.{ZONE}:5011": 2.0, f"c.{ZONE}:5010": 0.0}
    assert found == Found(expected, TTL_S)


async def test_a_name_that_stands_for_another_is_followed(dns: Dns) -> None:
    dns.serve(Dns.host("real", "127.0.0.3"), f"cname={NAME},real.{ZONE}")
    found = await resolver(dns.server).look_up(Lookup(NAME, 1))
    assert set(found.members) == {"127.0.0.3:1"}


async def test_what_is_not_there_is_nobody_and_no_failure(dns: Dns) -> None:
    dns.serve(Dns.host("other", "127.0.0.1"))
    one = resolver(dns.server)
    for lookup in (Lookup(NAME, 1), Lookup(SERVICE), Lookup(f"other.{ZONE}")):
        assert not (await one.look_up(lookup)).members


async def test_a_server_that_is_away_or_silent_or_refuses_is_a_failure(dns: Dns) -> None:
    with pytest.raises(Unavailable, match="does not say"):
        await resolver(dns.server, timeout_s=0.2).look_up(Lookup(NAME, 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable, match="does not say"):
            await resolver(f"127.0.0.1:{port}", timeout_s=0.2).look_up(Lookup(NAME, 1))
    dns.serve()
    with pytest.raises(Unavailable, match="does not say"):
        await resolver(dns.server).look_up(Lookup("elsewhere.example", 1))


async def test_more_members_than_fit_a_datagram_are_all_found(dns: Dns) -> None:
    dns.serve([Dns.service("_octopull-origin._tcp", f"origin-{number}-of-a-long-name.{ZONE}:5010")
               for number in range(150)])  # fmt: skip
    assert len((await resolver(dns.server).look_up(Lookup(SERVICE))).members) == 150


async def test_the_next_server_is_asked_when_one_is_away(dns: Dns) -> None:
    dns.serve(Dns.host("origins", "127.0.0.1"))
    away = resolver("127.0.0.1:1", dns.server, timeout_s=1.5)
    found = await away.look_up(Lookup(NAME, 5010))
    assert set(found.members) == {"127.0.0.1:5010"}
