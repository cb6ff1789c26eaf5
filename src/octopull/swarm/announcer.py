"""When to tell a tracker of this swarm."""

from dataclasses import dataclass

from octopull.swarm.limits import Announces, SwarmLimits

ANSWER_S_MAX = 60.0
"""An announce without any answer for so long is taken for lost."""


@dataclass(slots=True)
class Announcer:
    """The next announce: at an interval the tracker sets, or after a growing pause."""

    limits: SwarmLimits
    _next_at: float | None = None
    _short: int = 0
    _failures: int = 0

    def soon(self, now: float) -> None:
        """Announce at once: the swarm began, or its blob became whole."""
        if self.limits.announces is Announces.YES:
            self._next_at = now

    def due(self, now: float) -> bool:
        """Whether to announce now; True is said once per announce."""
        if self._next_at is None or self._next_at > now:
            return False
        self._next_at = now + ANSWER_S_MAX
        return True

    def answered(self, interval_s: float, now: float) -> None:
        """A tracker answered and asks for the next announce in ``interval_s``."""
        self._failures = 0
        if self.limits.announces is Announces.YES:
            self._next_at = now + max(interval_s, self.limits.announce_retry_s)

    def short(self, now: float) -> None:
        """The swarm is short of peers: ask again before the interval is over, ever less often."""
        pause_s = self.limits.announce_retry_s * 2**self._short
        if self._next_at is not None and now + pause_s < self._next_at < now + ANSWER_S_MAX / 2:
            self._short = min(self._short + 1, 16)
            self._next_at = now + pause_s

    def failed(self, now: float) -> None:
        """No tracker answered."""
        pause_s = self.limits.announce_retry_s * 2**self._failures
        self._failures = min(self._failures + 1, 16)
        if self.limits.announces is Announces.YES:
            self._next_at = now + min(pause_s, self.limits.announce_retry_s_max)

    @property
    def next_deadline(self) -> float | None:
        """When the next announce is due (seconds, core clock), if ever."""
        return self._next_at
