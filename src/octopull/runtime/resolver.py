"""Asks DNS, with the time that an answer counts: what the system's ``getaddrinfo`` does not tell."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octopull.kernel.errors import Misuse, Unavailable
from octopull.placement.lookups import Lookup, Service, members_by_address, members_by_service

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as Stub
    from dns.rdatatype import RdataType
    from dns.resolver import Answer

TRIES = 3
"""A server that does not answer, or a datagram that is lost, must leave time for others."""


@dataclass(frozen=True, slots=True)
class Found:
    """Members and their weights, none if DNS knows none; and for how many seconds that counts."""

    members: dict[str, float]
    ttl_s: float


class Resolver:
    """Asks ``servers`` (addresses and ports), or those of the system if there are none.

    Raises:
        Misuse: dnspython is not installed, or the system names no server.

    """

    def __init__(self, servers: Sequence[tuple[str, int]], timeout_s: float) -> None:
        _stub(servers)
        self._servers = tuple(servers)
        self._timeout_s = timeout_s

    async def look_up(self, lookup: Lookup) -> Found:
        """What DNS answers to ``lookup``.

        Raises:
            Unavailable: no server answers, or one says that it can't.

        """
        if lookup.port is None:
            return await self._services(lookup.name)
        addresses, ttl_s = await self.addresses(lookup.name)
        return Found(members_by_address(addresses, lookup.port), ttl_s)

    async def addresses(self, name: str) -> tuple[list[str], float]:
        """Those of ``name``, of both kinds, and for how many seconds that counts.

        Raises:
            Unavailable: one of the two could not be asked for, so that some may be missing.

        """
        from dns.rdatatype import RdataType
        from dns.rdtypes.IN.A import A
        from dns.rdtypes.IN.AAAA import AAAA

        answers = await asyncio.gather(
            self._ask(name, RdataType.A), self._ask(name, RdataType.AAAA)
        )
        known = [answer for answer in answers if answer is not None]
        found = [one.address for answer in known for one in answer if isinstance(one, A | AAAA)]
        return found, _ttl_s(known)

    async def _services(self, name: str) -> Found:
        from dns.rdatatype import RdataType
        from dns.rdtypes.IN.SRV import SRV

        answer = await self._ask(name, RdataType.SRV)
        records = [
            Service(one.priority, one.weight, one.port, one.target.to_text())
            for one in answer or ()
            if isinstance(one, SRV)
        ]
        return Found(members_by_service(records), _ttl_s([] if answer is None else [answer]))

    async def _ask(self, name: str, kind: "RdataType") -> "Answer | None":
        """None if there is no such name, or nothing of the kind under it."""
        from dns.exception import DNSException
        from dns.resolver import NXDOMAIN, NoAnswer

        # Made anew each time: which servers the system asks may change while we run.
        stub = _stub(self._servers)
        stub.timeout = self._timeout_s / TRIES
        try:
            return await stub.resolve(name, kind, search=True, lifetime=self._timeout_s)
        except (NXDOMAIN, NoAnswer):
            return None
        except (DNSException, OSError) as error:
            raise Unavailable(f"DNS does not say what {name} is: {error}") from error


def _ttl_s(answers: Sequence["Answer"]) -> float:
    return float(min((one.chaining_result.minimum_ttl for one in answers), default=0))


def _stub(servers: Sequence[tuple[str, int]]) -> "Stub":
    try:
        from dns.asyncresolver import Resolver as Stub
        from dns.nameserver import Do53Nameserver
        from dns.resolver import NoResolverConfiguration
    except ImportError as error:
        raise Misuse("dns:// and srv:// need: pip install 'octopull[dns]'") from error
    try:
        stub = Stub()
    except NoResolverConfiguration as error:
        if not servers:
            raise Misuse("this system names no DNS server: set dns.servers") from error
        stub = Stub(configure=False)
    if servers:
        stub.nameservers = [Do53Nameserver(address, port) for address, port in servers]
    return stub
