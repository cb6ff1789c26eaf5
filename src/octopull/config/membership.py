"""How services know who is there: lists of hosts, their weights, and checks of their health."""

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from octopull.kernel.errors import Misuse
from octopull.placement.health import Hysteresis
from octopull.placement.lookups import Lookup, lookups, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """How a server looks whether the servers that it depends on answer (docs/cluster.md)."""

    every_s: float = 2.0
    """Seconds between two checks of a host, give or take a fifth, so that a hundred proxies do not
    check in step; they cost an origin 50 small requests a second. 0: never."""
    timeout_s: float = 1.0
    """What takes longer failed: as long as a read waits before it asks the next host, too."""
    fails: int = 3
    """In a row, after which a host is asked last: it is noticed within 7 s, and a pause of
    two checks, such as a busy disk's, is forgiven."""
    passes: int = 2
    """In a row, after which it is asked again as before."""

    def __post_init__(self) -> None:
        if not 0 <= self.every_s < math.inf:
            raise Misuse("durations must not be negative", every_s=self.every_s)
        if not 0 < self.timeout_s < math.inf:
            raise Misuse("a timeout must lie in the future", timeout_s=self.timeout_s)
        _ = self.hysteresis

    @property
    def hysteresis(self) -> Hysteresis:
        """What changes an opinion."""
        return Hysteresis(fails=self.fails, passes=self.passes)


DNS_PORT = 53

_SERVER = re.compile(
    r"(?:(?P<four>[^:\[\]]+)|\[(?P<six>[^\[\]]+)\])(?::(?P<port>[0-9]{1,5}))?|(?P<bare>[^\[\]]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """How lists of hosts that name ``dns://`` or ``srv://`` are looked up (docs/cluster.md)."""

    every_s: float = 30.0
    """An answer counts for its time to live, but for 5 s at least, so that ten thousand agents bear
    on a server that says 0, and so long at most: a change is seen by all within that."""
    timeout_s: float = 5.0
    """What takes longer failed; the answer before counts on."""
    settle_s: float = 3600.0
    """How long after a change an origin that DNS names no more is kept, without a weight, so that
    the others fetch what it alone has, and a new one is taken to lack what it owns: 360 GB move in
    it, at the limit that repair has by default."""
    servers: list[str] = field(default_factory=list[str])
    """Addresses, with or without a port, of the servers that are asked, also for the hosts' names;
    empty: those of the system."""

    def __post_init__(self) -> None:
        if not (0 < self.every_s < math.inf and 0 < self.timeout_s < math.inf):
            raise Misuse("durations must be positive", every_s=self.every_s,
                         timeout_s=self.timeout_s)  # fmt: skip
        if not 0 <= self.settle_s < math.inf:
            raise Misuse("durations must not be negative", settle_s=self.settle_s)
        _ = self.addresses

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of the servers: IP addresses and ports.

        Raises:
            Misuse: one is something else.

        """
        return [_address(server) for server in self.servers]


def _address(server: str) -> tuple[str, int]:
    found = _SERVER.fullmatch(server)
    wrong = Misuse("a DNS server is an IP address, such as 10.0.0.2 or [fd00::1]:5353",
                   given=server)  # fmt: skip
    if found is None:
        raise wrong
    port = int(found["port"] or DNS_PORT)
    if not 0 < port < 65536:
        raise wrong
    try:
        return str(ipaddress.ip_address(found["four"] or found["six"] or found["bare"])), port
    except ValueError as error:
        raise wrong from error


def check_hosts(name: str, hosts: Sequence[str]) -> None:
    """Raises Misuse: ``hosts``, which are the setting ``name``, are none, or no ``host:port``."""
    if not hosts:
        raise Misuse(f"{name} must name at least one host:port")
    for host in hosts:
        try:
            parse(host)
        except Misuse as fault:
            raise Misuse(f"{name}: {fault}", **fault.details) from fault


def check_me(name: str, origins: Sequence[str]) -> None:
    """Raises Misuse: an origin called ``name`` can't find itself among ``origins``."""
    if not lookups(origins):
        if name not in origins:
            raise Misuse("name must be one of origins", name=name)
    elif not name or isinstance(parse(name), Lookup):
        raise Misuse("name must be this origin's host:port as DNS names it", name=name)


def check_weights(weights: Mapping[str, float], origins: Sequence[str]) -> None:
    """Raises Misuse: ``weights`` are not of ``origins``, or leave none that owns anything.

    Whom a lookup will name is not known yet.
    """
    looked_up = bool(lookups(origins))
    if looked_up:
        check_hosts("weights", [*weights, *origins])
    elif unknown := weights.keys() - set(origins):
        raise Misuse("weights are of origins", unknown=sorted(unknown))
    if not all(0 <= weight < math.inf for weight in weights.values()):
        raise Misuse("a weight is a number, and not negative", weights=weights)
    if origins and not looked_up and not any(weights.get(host, 1) for host in origins):
        raise Misuse("some origin must have a weight above 0", weights=weights)


def check_group(name: str, hosts: Sequence[str]) -> None:
    """Raises Misuse: ``name`` is no member of a group of ``hosts``, or it is a bad number.

    Who is a member of a group is part of what it agrees on, so nobody can be told it by DNS.
    """
    if lookups(hosts):
        raise Misuse("a tag index is told the others of its group by host:port: DNS is for those "
                     "who ask tag indexes", tag_indexes=list(hosts))  # fmt: skip
    if name not in hosts or len(set(hosts)) != len(hosts):
        raise Misuse("name is one of tag_indexes, and each of them is there once", name=name)
    if len(hosts) % 2 == 0:
        raise Misuse("an odd number of tag indexes: one more bears no more losses",
                     tag_indexes=len(hosts))  # fmt: skip
