"""Which peers are in which swarm, as far as they said so lately."""

from dataclasses import dataclass, field

from octopull.kernel.peers import Peer


@dataclass(slots=True)
class Member:
    """A peer of one swarm, and until when its word counts (seconds, monotonic)."""

    peer: Peer
    complete: bool
    until: float


@dataclass(slots=True)
class PeerTable:
    """Swarms by info hash, at most ``swarms_max``; each holds at most ``members_max`` peers.

    Nothing here is precious: peers say it again with their next announce.
    """

    ttl_s: float
    members_max: int = 50_000
    swarms_max: int = 500_000
    _swarms: dict[str, dict[str, Member]] = field(default_factory=dict[str, dict[str, Member]])

    def announce(self, info_hash: str, peer: Peer, now: float, *, complete: bool) -> None:
        """``peer`` is in the swarm; an earlier word of it is replaced."""
        if info_hash not in self._swarms and len(self._swarms) >= self.swarms_max:
            return
        swarm = self._swarms.setdefault(info_hash, {})
        if peer.id in swarm or len(swarm) < self.members_max:
            swarm[peer.id] = Member(peer, complete, now + self.ttl_s)

    def members(self, info_hash: str, now: float) -> list[Member]:
        """Who is in the swarm and has not fallen silent, in order of arrival."""
        return [one for one in self._swarms.get(info_hash, {}).values() if one.until > now]

    def expire(self, now: float) -> None:
        """Forget those who fell silent, and swarms without anyone."""
        for info_hash in list(self._swarms):
            swarm = self._swarms[info_hash]
            for key in [key for key, one in swarm.items() if one.until <= now]:
                del swarm[key]
            if not swarm:
                del self._swarms[info_hash]

    def __len__(self) -> int:
        return len(self._swarms)
