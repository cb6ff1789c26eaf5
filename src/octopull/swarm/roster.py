"""Whom we know, whom we may dial, whom we may let in, and who is out for a while."""

from dataclasses import dataclass, field

from octopull.kernel.peers import Peer
from octopull.swarm.chance import Chance
from octopull.swarm.limits import SwarmLimits


@dataclass(slots=True)
class _Known:
    """A peer by hearsay: where it listens, and when it may be dialled."""

    peer: Peer
    dial_at: float = 0.0
    failures: int = 0
    dialing: bool = False


@dataclass(slots=True)
class Roster:
    """Peers a tracker named, and bans with their end.

    A named peer is a hint, never a promise: one that fails is dialled again after a pause
    that doubles, and a newer hint does not shorten it.
    """

    me: str
    limits: SwarmLimits
    chance: Chance
    _known: dict[str, _Known] = field(default_factory=dict[str, _Known])
    _banned_until: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def dialing(self) -> int:
        """Dials under way."""
        return sum(known.dialing for known in self._known.values())

    def discovered(self, peers: tuple[Peer, ...]) -> None:
        """Remember ``peers``; ourselves and what goes beyond ``known_max`` are left out."""
        for peer in peers:
            known = self._known.get(peer.id)
            if known is not None:
                known.peer = peer
            elif peer.id != self.me and self._room():
                self._known[peer.id] = _Known(peer)

    def _room(self) -> bool:
        if len(self._known) < self.limits.known_max:
            return True
        useless = next((key for key, one in self._known.items() if one.failures > 1), None)
        if useless is not None:
            del self._known[useless]
        return useless is not None

    def dial(self, connected: set[str], room: int, now: float) -> list[Peer]:
        """Up to ``room`` peers to dial now, by chance; each counts as being dialled."""
        able = [
            known
            for key, known in self._known.items()
            if not known.dialing
            and known.dial_at <= now
            and key not in connected
            and not self.banned(key, now)
        ]
        chosen: list[Peer] = []
        while able and len(chosen) < room:
            known = able.pop(self.chance.below(len(able)))
            known.dialing = True
            chosen.append(known.peer)
        return chosen

    def connected(self, peer_id: str) -> None:
        """The peer's handshake is done."""
        if peer_id in self._known:
            self._known[peer_id].dialing = False

    def useful(self, peer_id: str) -> None:
        """The peer gave us a proven piece: its failures are forgotten."""
        if peer_id in self._known:
            self._known[peer_id].failures = 0

    def failed(self, peer_id: str, now: float) -> None:
        """A dial failed, or a connection ended: pause before the next dial."""
        known = self._known.get(peer_id)
        if known is not None:
            pause_s = min(self.limits.redial_s * 2**known.failures, self.limits.redial_s_max)
            known.dialing = False
            known.failures = min(known.failures + 1, 16)
            known.dial_at = now + pause_s

    def ban(self, peer_id: str, until: float) -> None:
        """Neither dial nor let in the peer before ``until``; a longer ban stands."""
        self._banned_until[peer_id] = max(until, self._banned_until.get(peer_id, until))

    def banned(self, peer_id: str, now: float) -> bool:
        """Whether the peer is banned at ``now``; bans that ended are forgotten."""
        until = self._banned_until.get(peer_id)
        if until is not None and until <= now:
            del self._banned_until[peer_id]
            return False
        return until is not None

    def next_dial(self, connected: set[str]) -> float | None:
        """When some peer that is not connected may be dialled, if any is known."""
        return min(
            (
                max(known.dial_at, self._banned_until.get(key, 0.0))
                for key, known in self._known.items()
                if not known.dialing and key not in connected
            ),
            default=None,
        )
