"""What a leader keeps: what each of the others has, what a majority has, and who must hear what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from octopull.consensus.events import Current, Send, SendBook
from octopull.consensus.follower import Follower
from octopull.consensus.limits import Limits
from octopull.consensus.log import Log
from octopull.consensus.messages import Append, Appended, Joins

BOOK_S = 15.0
"""Before a book is sent again: it may be on its way."""


@dataclass(slots=True)
class Leadership:
    """Of one ``term``, which began with the entry ``begun_index``."""

    term: int
    log: Log
    limits: Limits
    begun_index: int
    followers: dict[str, Follower]
    ending: bool = False
    """Nothing new begins; whoever has the whole log is to take over."""
    _named: bool = False
    _round: int = 0
    _reads: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    @classmethod
    def begun(
        cls, term: int, log: Log, limits: Limits, others: Sequence[str], now: float
    ) -> "Leadership":
        """At ``now``; nothing is known of the others but how many they are."""
        new = log.last_index + 1
        return cls(term, log, limits, new, {one: Follower(new, now) for one in others})

    @property
    def due_s(self) -> float:
        """When the next one must be told of us."""
        return min((one.due_s for one in self.followers.values()), default=inf)

    def is_heard(self, now: float) -> bool:
        """Whether a majority answered lately: else another may lead by now."""
        since = now - 2 * self.limits.election_s
        return self._majority([one.heard_s for one in self.followers.values()], now) > since

    def agreed_index(self) -> int:
        """Up to here a majority has the log."""
        have = [0 if one.birth else one.matched for one in self.followers.values()]
        agreed = int(self._majority(have, self.log.last_index))
        # An older term's entry is only safe below one of ours (paper, 5.4.2).
        return agreed if self.log.term(agreed) == self.term else 0

    def successor(self) -> str:
        """The one that is to take over, told once; empty if nobody is, or has the whole log yet."""
        if not self.ending or self._named:
            return ""
        able = {
            one.heard_s: peer
            for peer, one in self.followers.items()
            if not one.birth and one.matched == self.log.last_index
        }
        self._named = bool(able)
        return able[max(able)] if able else ""

    def ask(self, read: int) -> None:
        """``read`` waits for a majority to answer what is said from now on."""
        self._reads.append((self._new_round(), read))

    def current(self) -> Iterator[Current]:
        """The reads that a majority has answered since."""
        confirmed = self._confirmed()
        while self._reads and self._reads[0][0] <= confirmed:
            yield Current(self._reads.pop(0)[1])

    def appended(self, peer: str, answer: Appended, now: float) -> None:
        """Learn what ``peer`` has."""
        one = self.followers[peer]
        if answer.birth != one.birth and not self._reborn(one, answer):
            return
        one.heard_s, one.round = now, max(one.round, answer.round)
        if answer.matched:
            one.matched = max(one.matched, answer.index)
            one.next_index = one.matched + 1
            come = 0 < one.sent_index < one.next_index
        else:
            one.next_index = max(one.matched, min(answer.index, self.log.last_index)) + 1
            come, one.sent_index = one.sent_index > 0, 0
        # An answer to something else does not mean that what was sent has come; nor the book.
        if come or one.next_index > max(one.sent_index, self.log.base_index):
            one.waiting_until_s = 0.0

    def _reborn(self, one: Follower, answer: Appended) -> bool:
        """Whether the answer is news of who ``one`` is, and not older than what is known."""
        if answer.birth:
            one.birth, one.matched, one.next_index = answer.birth, 0, self.log.last_index + 1
            one.joins_index, one.joins_round = self.log.last_index, self._new_round()
            one.sent_index, one.waiting_until_s = 0, 0.0
            return True
        # An older answer may be of the disk that was lost.
        if answer.round < one.joins_round:
            return False
        one.birth = 0
        return True

    def news(self, commit: int, now: float) -> Iterator[Send | SendBook]:
        """What the others must hear now."""
        for peer, one in self.followers.items():
            behind = one.next_index <= self.log.last_index and now >= one.waiting_until_s
            if not behind and now < one.due_s:
                continue
            one.due_s = now + self.limits.heartbeat_s
            if one.next_index <= self.log.base_index:
                if behind:
                    one.waiting_until_s, one.sent_index = now + BOOK_S, 0
                    yield SendBook(peer)
                yield Send(peer, self._append(one, self.log.last_index, commit, behind=False))
            else:
                said = self._append(one, one.next_index - 1, commit, behind=behind)
                if behind:
                    one.waiting_until_s = now + self.limits.election_s
                    one.sent_index = said.before_index + len(said.entries)
                yield Send(peer, said)

    def _append(self, one: Follower, before: int, commit: int, *, behind: bool) -> Append:
        joins = None
        if one.birth and self._confirmed() >= one.joins_round:
            joins = Joins(one.birth, one.joins_index)
        return Append(
            term=self.term, before_index=before, before_term=self.log.term(before) or 0,
            entries=self.log.batch(before, self.limits.batch_bytes_max) if behind else (),
            commit=commit, round=self._round, joins=joins,
        )  # fmt: skip

    def _new_round(self) -> int:
        self._round += 1
        for one in self.followers.values():
            one.due_s = 0.0
        return self._round

    def _confirmed(self) -> int:
        """The newest round that a majority has answered."""
        rounds = [0 if one.birth else one.round for one in self.followers.values()]
        return int(self._majority(rounds, self._round))

    @staticmethod
    def _majority(of_others: Sequence[float], ours: float) -> float:
        """What a majority has reached, of the others and ourselves."""
        ranked = sorted([*of_others, ours], reverse=True)
        return ranked[len(ranked) // 2]
