"""Which pieces one connection was asked for, and until when we wait.

The pipeline never sends and never sleeps. It is told the time, and says what is
overdue; the engine decides whom to ask instead.
"""

from dataclasses import dataclass, field

from octopull.kernel import bitfield
from octopull.kernel.errors import Misuse, PeerFault
from octopull.swarm.limits import SwarmLimits


@dataclass(slots=True)
class Pipeline:
    """Requests outstanding on one connection, oldest first.

    A request taken back or cancelled is *late* until the peer answers it, and holds its
    place meanwhile: a peer that answers nothing is asked for nothing more.

    Invariants, checked by ``validate``: at most ``limits.depth_max`` requests are asked and
    late together; no piece is both.
    """

    limits: SwarmLimits
    piece_length: int
    strikes: int = 0
    late_bits: int = 0
    """The pieces of ``late`` as a set."""
    _asked: dict[int, float] = field(default_factory=dict[int, float])
    _late: dict[int, float] = field(default_factory=dict[int, float])
    _heard_at: float = 0.0

    @property
    def room(self) -> int:
        """Further requests this connection may carry now."""
        return self.limits.depth_max - len(self._asked) - len(self._late)

    @property
    def depth(self) -> int:
        """Requests that are neither answered nor taken back."""
        return len(self._asked)

    @property
    def asked(self) -> list[int]:
        """Pieces asked for and not taken back, oldest first."""
        return list(self._asked)

    @property
    def late(self) -> frozenset[int]:
        """Pieces taken back that the peer has still to answer for."""
        return frozenset(self._late)

    @property
    def dead(self) -> bool:
        """Whether the peer has ignored us often enough to hang up."""
        return self.strikes >= self.limits.strikes_max

    @property
    def next_deadline(self) -> float | None:
        """When ``overdue`` may have something to say (seconds, core clock), if ever."""
        if not self._asked and not self._late:
            return None
        silent = self._heard_at + self.limits.silence_s
        return min(silent, *self._asked.values(), *self._late.values())

    def ask(self, piece: int, now: float) -> None:
        """Record that ``piece`` was requested at ``now``.

        Raises:
            Misuse: there is no room, or the piece is asked for already.

        """
        if self.room <= 0:
            raise Misuse("pipeline is full", depth=self.limits.depth_max)
        if piece in self._asked or piece in self._late:
            raise Misuse("piece is already asked for on this connection", piece=piece)
        if not self._asked and not self._late:
            self._heard_at = now
        self._asked[piece] = now + self._patience_s

    @property
    def _patience_s(self) -> float:
        """Seconds an answer may take, whatever progress it makes."""
        queued_bytes = self.limits.depth_max * self.piece_length
        return self.limits.request_s + queued_bytes / self.limits.rate_bytes_per_s_min

    def age_s(self, piece: int, now: float) -> float:
        """Seconds since ``piece``, which is asked for, was."""
        return now - self._asked[piece] + self._patience_s

    def heard(self, now: float) -> None:
        """Bytes of use came: silence begins anew."""
        self._heard_at = now

    def answered(self, piece: int, now: float) -> None:
        """Settle ``piece``, by body or rejection, on time or late.

        Raises:
            PeerFault: this connection was not asked for it, or answered already.

        """
        if piece in self._asked:
            del self._asked[piece]
        elif piece in self._late:
            del self._late[piece]
            self.late_bits ^= 1 << piece
        else:
            raise PeerFault("answer to no request", piece=piece)
        self._heard_at = now

    def forgive(self) -> None:
        """A piece was proven: earlier silence is forgotten."""
        self.strikes = 0

    def asks(self, piece: int) -> bool:
        """Whether ``piece`` is asked for and not taken back."""
        return piece in self._asked

    def waits_for(self, piece: int) -> bool:
        """Whether ``piece`` is asked for or late."""
        return piece in self._asked or piece in self._late

    def take_back(self, piece: int, now: float) -> None:
        """Want ``piece`` no more; unknown ones are ignored. It must be answered all the same."""
        if self._asked.pop(piece, None) is not None:
            self._late[piece] = now + self._patience_s
            self.late_bits |= 1 << piece

    def overdue(self, now: float) -> list[int]:
        """Take back what has waited too long, oldest first; each time is a strike.

        So is a late piece that stays unanswered, or a peer could trickle one for ever.
        """
        silent = self._heard_at + self.limits.silence_s <= now
        pieces = [piece for piece, due in self._asked.items() if silent or due <= now]
        stuck = [piece for piece, due in self._late.items() if silent or due <= now]
        if pieces or stuck:
            self.strikes += 1
            self._heard_at = now
        for piece in stuck:
            self._late[piece] = now + self._patience_s
        for piece in pieces:
            self.take_back(piece, now)
        return pieces

    def validate(self) -> None:
        """Assert the class invariants; on in tests and simulation, off in service."""
        assert self.room >= 0
        assert not self._late.keys() & self._asked.keys()
        assert self.late_bits == bitfield.of(self._late)
