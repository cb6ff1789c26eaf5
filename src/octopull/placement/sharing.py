"""What trackers that share a peer store tell it, and ask of it.

Each tracker answers from its own table. The store is how they hear of each other's peers: what is
said there is a word about a peer, with its age, and who told. To save round trips a word is told
again only when a third of its time is over, a swarm is looked up only so often, and what is due at
the same time goes in one batch.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from octopull.kernel.errors import Misuse, PeerFault
from octopull.kernel.peers import Peer
from octopull.placement.peer_table import Member, PeerTable

LOOK_S = 0.5
"""How long what others said of a swarm counts as new: a sixth of the usual announce interval."""

RETELL = 1 / 3
"""The part of its time after which a word is told again: two may be lost before it is forgotten."""

ERRANDS_MAX = 128
"""Swarms in a batch: a store of one thread is busy with it for a few milliseconds."""

WORDS_MAX = 2048
"""Words told in a batch; 700 KB of them at most."""

BATCHES_MAX = 32
"""Batches that wait: behind so many, none would be waited for long enough. What is due beyond them
waits for its peer's next announce.
"""

HEARD_MAX = 4096
"""Words heard with a batch: about ten milliseconds to read, in which no announce is answered."""

HEARD_OF_SWARM_MAX = 1000
"""Words heard of one swarm at once, the newest: enough for handouts that form a random graph."""


@dataclass(slots=True)
class Errand:
    """One swarm in a batch: members to tell of, by id, and from where on to read; None: don't."""

    tell: dict[str, Member] = field(default_factory=dict[str, Member])
    cursor: int | None = None


@dataclass(slots=True)
class Batch:
    """What is done in one round trip, by info hash; numbers grow in the order of their turns."""

    number: int
    errands: dict[str, Errand] = field(default_factory=dict[str, Errand])
    words: int = 0
    looks: int = 0

    @property
    def heard_max(self) -> int:
        """How many words may be heard of each of its swarms; at least as many as a handout has."""
        return min(HEARD_OF_SWARM_MAX, HEARD_MAX // max(self.looks, 1))


class Word(msgspec.Struct, array_like=True, frozen=True):
    """That a peer is in a swarm, as the tracker ``teller`` was told ``age_us`` microseconds ago."""

    age_us: int
    teller: str
    complete: bool
    peer: Peer


_WORDS = msgspec.json.Decoder(list[Word])


def head(teller: str) -> bytes:
    """How all words of ``teller`` begin in the store."""
    return b'["%b",' % teller.encode()


def told(teller: str, member: Member) -> bytes:
    """A word as it is kept in the store: a ``Word`` in JSON, but for its age."""
    complete = b"true," if member.complete else b"false,"
    return head(teller) + complete + bytes(member.encoded) + b"]"


def heard(answer: bytes) -> list[Word]:
    """The words in a store's answer.

    Raises:
        PeerFault: it is something else.

    """
    try:
        return _WORDS.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Misuse) as error:
        raise PeerFault("the peer store answers something else than was put there") from error


@dataclass(slots=True)
class Sharing:
    """Which words of a table others were told, and what is due next. Times are monotonic seconds.

    Invariant: at most ``BATCHES_MAX`` batches wait, each within its own bounds.
    """

    table: PeerTable
    look_s: float = LOOK_S
    _since: float = -math.inf
    _numbers: int = 0
    _waiting: deque[Batch] = field(default_factory=deque[Batch])

    def gather(self, info_hash: str, peer_id: str, now: float, *, asks: bool) -> Batch | None:
        """What follows from a peer's announce: the batch that has it, or None if nothing is due.

        ``asks`` is said of a peer that is to be named others.
        """
        swarm = self.table.swarm(info_hash)
        member = swarm.members.get(peer_id)
        if member is None:
            # The table is full, and will not keep what others say either.
            return None
        tells = self._is_due(member.told, self.table.ttl_s * RETELL, now)
        looks = asks and self._is_due(swarm.looked, self.look_s, now)
        batch = self._open_batch() if tells or looks else None
        if batch is None:
            return None
        errand = batch.errands.setdefault(info_hash, Errand())
        if tells:
            batch.words += peer_id not in errand.tell
            errand.tell[peer_id], member.told = member, now
        if looks:
            batch.looks += errand.cursor is None
            errand.cursor, swarm.looked = swarm.cursor, now
        return batch

    def take(self) -> Batch | None:
        """The batch whose turn it is."""
        return self._waiting.popleft() if self._waiting else None

    def hear(self, info_hash: str, cursor: int, words: Iterable[Word], now: float) -> None:
        """What others said of a swarm that was read up to ``cursor``."""
        for word in words:
            until = now + self.table.ttl_s - max(word.age_us, 0) / 1_000_000
            if until > now:
                self.table.hear(info_hash, word.peer, until, complete=word.complete)
        self.table.swarm(info_hash).cursor = cursor

    def forget(self, now: float) -> None:
        """The store is away, and may be empty when it is back: all is due again."""
        self._since = now
        self._waiting.clear()

    def _is_due(self, last: float, pause_s: float, now: float) -> bool:
        return last <= max(self._since, now - pause_s)

    def _open_batch(self) -> Batch | None:
        if self._waiting:
            last = self._waiting[-1]
            if len(last.errands) < ERRANDS_MAX and last.words < WORDS_MAX:
                return last
            if len(self._waiting) >= BATCHES_MAX:
                return None
        self._numbers += 1
        self._waiting.append(Batch(self._numbers))
        return self._waiting[-1]
