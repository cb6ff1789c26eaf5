"""Which peers are in which swarm, as far as they said so lately.

Announces are a tracker's daily bread: noting one and drawing a handout cost the same in a
swarm of ten and in one of ten thousand.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from octopull.kernel.peers import Peer

Draw = Callable[[int], int]
"""A whole number below the one given, by chance: ``random.Random().randrange`` is one."""


@dataclass(slots=True)
class Member:
    """A peer of one swarm, and until when its word counts (seconds, monotonic).

    ``encoded`` is the peer as JSON: it is named far more often than it changes. ``told`` is when
    other trackers were told of it last (placement/sharing.py).
    """

    peer: Peer
    complete: bool
    until: float
    encoded: msgspec.Raw
    told: float = -math.inf


@dataclass(slots=True)
class Roll:
    """Members in a list, so that some can be drawn by chance, and the place of each in it."""

    members: list[Member] = field(default_factory=list[Member])
    _places: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, member: Member) -> None:
        """One more, who is not on it."""
        self._places[member.peer.id] = len(self.members)
        self.members.append(member)

    def remove(self, member: Member) -> None:
        """The last takes the place of the one that goes."""
        place, last = self._places.pop(member.peer.id), self.members.pop()
        if last is not member:
            self.members[place] = last
            self._places[last.peer.id] = place

    def __len__(self) -> int:
        return len(self.members)

    def drawn(self, count: int, now: float, draw: Draw) -> list[Member]:
        """Up to ``count`` of those whose word counts at ``now``.

        They stand in steps of one length from a first one, and both are left to chance: two
        numbers instead of one for each. Modulo a prime, any two members are as likely to be
        named together as any others.
        """
        total, chosen = len(self.members), list[Member]()
        if total == 0:
            return chosen
        prime = _prime_from(total + 1)
        at, step = draw(prime), 1 + draw(prime - 1)
        for _ in range(prime):
            if at < total and self.members[at].until > now:
                chosen.append(self.members[at])
                if len(chosen) == count:
                    break
            at += step
            if at >= prime:
                at -= prime
        return chosen


@lru_cache(maxsize=65536)
def _prime_from(number: int) -> int:
    """The least prime not below ``number``."""
    while any(number % divisor == 0 for divisor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


@dataclass(slots=True)
class Party:
    """Members by what they hold. Invariant: each is on exactly one of the two rolls."""

    seeders: Roll = field(default_factory=Roll)
    leechers: Roll = field(default_factory=Roll)

    def roll(self, member: Member) -> Roll:
        """Where ``member`` belongs."""
        return self.seeders if member.complete else self.leechers

    def __len__(self) -> int:
        return len(self.seeders) + len(self.leechers)


@dataclass(slots=True)
class Swarm:
    """The members of one swarm. Invariant: each is in ``everyone`` and in its zone's party.

    ``looked`` is when it was last asked what other trackers know, and ``cursor`` how far it was
    read then (placement/sharing.py).
    """

    members: dict[str, Member] = field(default_factory=dict[str, Member])
    everyone: Party = field(default_factory=Party)
    zones: dict[str, Party] = field(default_factory=dict[str, Party])
    looked: float = -math.inf
    cursor: int = 0

    def put(self, member: Member) -> None:
        """Note ``member`` in place of what it said before."""
        if member.peer.id in self.members:
            self.remove(member.peer.id)
        self.members[member.peer.id] = member
        self.everyone.roll(member).add(member)
        self.zones.setdefault(member.peer.zone, Party()).roll(member).add(member)

    def remove(self, peer_id: str) -> None:
        """Forget a member."""
        member = self.members.pop(peer_id)
        zone = self.zones[member.peer.zone]
        self.everyone.roll(member).remove(member)
        zone.roll(member).remove(member)
        if not len(zone):
            del self.zones[member.peer.zone]


@dataclass(slots=True)
class PeerTable:
    """Swarms by info hash, at most ``swarms_max``; each holds at most ``members_max`` peers.

    Nothing here is precious: peers say it again with their next announce.
    """

    ttl_s: float
    members_max: int = 50_000
    swarms_max: int = 500_000
    _swarms: dict[str, Swarm] = field(default_factory=dict[str, Swarm])

    def announce(self, info_hash: str, peer: Peer, now: float, *, complete: bool) -> None:
        """``peer`` is in the swarm; an earlier word of it is replaced."""
        self.hear(info_hash, peer, now + self.ttl_s, complete=complete)

    def hear(self, info_hash: str, peer: Peer, until: float, *, complete: bool) -> None:
        """As ``announce``, by hearsay: a word that counts for longer than ``until`` stands."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            if len(self._swarms) >= self.swarms_max:
                return
            swarm = self._swarms[info_hash] = Swarm()
        old = swarm.members.get(peer.id)
        if old is None and len(swarm.members) >= self.members_max:
            return
        if old is not None and old.until > until:
            return
        if old is not None and old.complete == complete and old.peer == peer:
            old.until = until
            return
        encoded = msgspec.Raw(msgspec.json.encode(peer))
        swarm.put(Member(peer, complete, until, encoded))

    def swarm(self, info_hash: str) -> Swarm:
        """Who is in the swarm; an empty one if nobody is known."""
        return self._swarms.get(info_hash) or Swarm()

    def expire(self, now: float) -> None:
        """Forget those who fell silent, and swarms without anyone."""
        for info_hash in list(self._swarms):
            swarm = self._swarms[info_hash]
            for key in [key for key, one in swarm.members.items() if one.until <= now]:
                swarm.remove(key)
            if not swarm.members:
                del self._swarms[info_hash]

    def __len__(self) -> int:
        return len(self._swarms)
