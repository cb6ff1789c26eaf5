"""When the core wants to be woken: one alarm for all its deadlines."""

from dataclasses import dataclass


@dataclass(slots=True)
class Alarm:
    """The wake-up that was ordered last, and whether a deadline may lie before it.

    Most events put deadlines off. The alarm then rings for nothing, once, which is cheaper than
    looking through all deadlines after each event.
    """

    at: float | None = None
    stale: bool = False

    def by(self, deadline: float) -> None:
        """There is a deadline (seconds, core clock) that no earlier alarm covers yet."""
        if self.at is None or deadline < self.at:
            self.stale = True

    def due(self, now: float) -> bool:
        """Whether to look through the deadlines at ``now``."""
        return self.stale or (self.at is not None and now >= self.at)

    def looked(self, now: float) -> None:
        """The deadlines were looked through; an alarm whose time is past is of no more use."""
        self.stale = False
        if self.at is not None and now >= self.at:
            self.at = None

    def set(self, when: float) -> bool:
        """Ring at ``when``; whether that is earlier than what was ordered."""
        earlier = self.at is None or when < self.at
        if earlier:
            self.at = when
        return earlier
