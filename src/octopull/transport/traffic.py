"""Who sent this process how many piece bytes, for people and for metrics."""

from dataclasses import dataclass, field

from octopull.kernel.peers import Peer, PeerKind
from octopull.observability import metrics

SENDERS_MAX = 4096
"""Peers remembered; later ones count as one, so that a busy year does not fill memory."""


@dataclass(frozen=True, slots=True)
class Received:
    """Verified piece bytes from one peer."""

    peer_id: str
    kind: PeerKind
    bytes: int


@dataclass(slots=True)
class Traffic:
    """Verified bytes received per peer, wasted bytes, and bytes sent, since the start."""

    sent_bytes: int = 0
    wasted_bytes: int = 0
    _received: dict[tuple[str, PeerKind], int] = field(
        default_factory=dict[tuple[str, PeerKind], int]
    )

    def received(self, peer: Peer, count: int) -> None:
        """``count`` bytes of a piece from ``peer`` were verified."""
        key = (peer.id, peer.kind)
        if key not in self._received and len(self._received) >= SENDERS_MAX:
            key = ("others", peer.kind)
        self._received[key] = self._received.get(key, 0) + count
        metrics.PEER_BYTES_RECEIVED.labels(peer.kind).inc(count)

    def sent(self, count: int) -> None:
        """``count`` bytes of a piece were handed to the kernel."""
        self.sent_bytes += count
        metrics.PEER_BYTES_SENT.inc(count)

    def wasted(self, count: int) -> None:
        """``count`` bytes came and were of no use."""
        self.wasted_bytes += count
        metrics.PEER_BYTES_WASTED.inc(count)

    def senders(self) -> list[Received]:
        """Everyone who sent us bytes, most first."""
        rows = [Received(peer, kind, count) for (peer, kind), count in self._received.items()]
        return sorted(rows, key=lambda row: -row.bytes)
