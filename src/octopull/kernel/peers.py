"""Who takes part in a swarm, and where it listens."""

import re
from dataclasses import dataclass
from enum import StrEnum

from octopull.kernel.errors import Misuse

_ID = re.compile(r"[0-9a-f]{40}", re.ASCII)
HOST_CHARS_MAX = 255
ZONE_CHARS_MAX = 64


class PeerKind(StrEnum):
    """What runs the peer: origins hold whole blobs, agents come and go."""

    AGENT = "agent"
    ORIGIN = "origin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A process that speaks the peer protocol.

    ``id`` is 40 hexadecimal characters, chosen at the first start and kept on disk;
    ``host`` is a name or an address of either IP version.
    """

    id: str
    host: str
    port: int
    kind: PeerKind = PeerKind.AGENT
    zone: str = ""

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None:
            raise Misuse("a peer id has 40 hexadecimal characters", id=self.id[:80])
        if not 0 < self.port < 65536:
            raise Misuse("a port lies in 1..65535", port=self.port)
        if not 0 < len(self.host) <= HOST_CHARS_MAX or not self.host.isprintable():
            raise Misuse("not a host", host=self.host[:80])
        if len(self.zone) > ZONE_CHARS_MAX or not self.zone.isprintable():
            raise Misuse("not a zone", zone=self.zone[:80])

    def __str__(self) -> str:
        return f"{self.kind}:{self.id[:8]}@{self.host}:{self.port}"
