"""How services know who is there: lists of hosts, their weights, and checks of their health."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from octopull.kernel.errors import Misuse
from octopull.placement.health import Hysteresis


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


def check_hosts(name: str, hosts: Sequence[str]) -> None:
    """Raises Misuse: ``hosts``, which are the setting ``name``, are none, or no ``host:port``."""
    if not hosts:
        raise Misuse(f"{name} must name at least one host:port")
    for host in hosts:
        _, colon, port = host.rpartition(":")
        if not colon or not port.isdecimal():
            raise Misuse(f"{name} must be host:port", given=host)


def check_weights(weights: Mapping[str, float], origins: Sequence[str]) -> None:
    """Raises Misuse: ``weights`` are not of ``origins``, or leave none that owns anything."""
    if unknown := weights.keys() - set(origins):
        raise Misuse("weights are of origins", unknown=sorted(unknown))
    if not all(0 <= weight < math.inf for weight in weights.values()):
        raise Misuse("a weight is a number, and not negative", weights=weights)
    if origins and not any(weights.get(host, 1) for host in origins):
        raise Misuse("some origin must have a weight above 0", weights=weights)


def check_group(name: str, hosts: Sequence[str]) -> None:
    """Raises Misuse: ``name`` is no member of a group of ``hosts``, or it is a bad number."""
    if name not in hosts or len(set(hosts)) != len(hosts):
        raise Misuse("name is one of tag_indexes, and each of them is there once", name=name)
    if len(hosts) % 2 == 0:
        raise Misuse("an odd number of tag indexes: one more bears no more losses",
                     tag_indexes=len(hosts))  # fmt: skip
