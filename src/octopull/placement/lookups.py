"""What lists of hosts may name besides hosts: lookups in DNS, and what their answers mean.

origins-1.example:5010                     a host
dns://origins.example:5010                 each address of the name, at that port
srv://_octopull-origin._tcp.example        each target of the service, at its port
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from octopull.kernel.errors import Misuse

ADDRESSES, SERVICE = "dns://", "srv://"
NAME_CHARS_MAX = 253

_LABELS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")


@dataclass(frozen=True, slots=True)
class Lookup:
    """A question to DNS: the addresses of ``name``, or without a ``port`` its service records."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        return (
            f"{SERVICE}{self.name}" if self.port is None else f"{ADDRESSES}{self.name}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record: where the service is, and how much it is to be asked."""

    priority: int
    weight: int
    port: int
    target: str


def parse(text: str) -> Lookup | str:
    """A line of a list of hosts.

    Raises:
        Misuse: it is neither ``host:port`` nor a lookup.

    """
    if text.startswith(SERVICE):
        return Lookup(_name(text.removeprefix(SERVICE), text))
    host, colon, port = text.removeprefix(ADDRESSES).rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or "/" in host:
        raise Misuse("a host is host:port, dns://name:port or srv://_service._tcp.name", given=text)
    if not text.startswith(ADDRESSES):
        return text
    if not 0 < int(port[:6]) < 65536:
        raise Misuse("a port lies in 1..65535", given=text)
    return Lookup(_name(host, text), int(port))


def _name(name: str, text: str) -> str:
    if len(name) > NAME_CHARS_MAX or _LABELS.fullmatch(name) is None:
        raise Misuse("DNS knows no such name", given=text)
    return name


def lookups(hosts: Iterable[str]) -> list[Lookup]:
    """Those of ``hosts`` that are lookups, each once.

    Raises:
        Misuse: as ``parse``.

    """
    return [one for one in dict.fromkeys(map(parse, hosts)) if isinstance(one, Lookup)]


def members_by_address(addresses: Iterable[str], port: int) -> dict[str, float]:
    """Members by name, and their weights: of addresses, 1."""
    return {_at(address, port): 1.0 for address in addresses}


def members_by_service(records: Sequence[Service]) -> dict[str, float]:
    """Members by name, and their weights.

    Those of the least priority count by their weights, of which the least is 1; as that of a record
    whose weight is 0, which most zones give to all. Others own nothing and are asked last.
    """
    offered = [one for one in records if one.target.rstrip(".")]
    first = min((one.priority for one in offered), default=0)
    least = min((max(one.weight, 1) for one in offered if one.priority == first), default=1)
    found: dict[str, float] = {}
    for one in offered:
        weight = max(one.weight, 1) / least if one.priority == first else 0.0
        host = _at(one.target.rstrip(".").lower(), one.port)
        found[host] = max(weight, found.get(host, 0.0))
    return found


def _at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
