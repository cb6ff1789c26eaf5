"""How much of a server each client has taken lately: pure, told the time."""

from collections import OrderedDict
from dataclasses import dataclass, field

from octopull.kernel.errors import TooMany

CLIENTS_MAX = 10_000
"""Remembered at once; whoever spoke longest ago is forgotten, and so begins anew."""


@dataclass(slots=True)
class Allowance:
    """Requests per client: ``burst`` at once, ``per_s`` in the long run.

    Invariant: nobody has taken more than ``burst`` and ``per_s`` times the seconds since they were
    first seen.
    """

    per_s: float
    burst: int
    _left: OrderedDict[str, tuple[float, float]] = field(
        default_factory=OrderedDict[str, tuple[float, float]]
    )

    def take(self, client: str, now: float) -> None:
        """One request of ``client`` at ``now`` (seconds, monotonic).

        Raises:
            TooMany: it has had its share; ``details["again_s"]`` says when there is more.

        """
        left, since_s = self._left.pop(client, (float(self.burst), now))
        left = min(self.burst, left + (now - since_s) * self.per_s)
        self._left[client] = (left - 1 if left >= 1 else left), now
        if len(self._left) > CLIENTS_MAX:
            self._left.popitem(last=False)
        if left < 1:
            raise TooMany(
                f"too many requests: at most {self.per_s:g} per second (limits.requests_per_s)",
                limit="requests_per_s", again_s=(1 - left) / self.per_s,
            )  # fmt: skip


@dataclass(slots=True)
class Sessions:
    """Upload sessions per client: at most ``most`` that were heard of within ``idle_s``.

    Invariant, checked by ``validate``: each session is its client's, and is counted once.
    """

    most: int
    idle_s: float
    _of: OrderedDict[str, tuple[str, float]] = field(
        default_factory=OrderedDict[str, tuple[str, float]]
    )
    _counts: dict[str, int] = field(default_factory=dict[str, int])

    def check(self, client: str, now: float) -> None:
        """Raises TooMany: ``client`` has as many as it may have."""
        self._expire(now)
        if self.most and self._counts.get(client, 0) >= self.most:
            raise TooMany(f"too many uploads at once: at most {self.most} (limits.uploads)",
                          limit="uploads")  # fmt: skip

    def heard(self, session: str, client: str, now: float) -> None:
        """``session`` was begun or gone on with by ``client``."""
        self.ended(session)
        self._of[session] = client, now
        self._counts[client] = self._counts.get(client, 0) + 1
        while len(self._of) > CLIENTS_MAX * 10:
            self.ended(next(iter(self._of)))

    def ended(self, session: str) -> None:
        """``session`` is a blob now, or was given up; one that is not known is none."""
        client, _ = self._of.pop(session, ("", 0.0))
        if client:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]

    def _expire(self, now: float) -> None:
        while self._of:
            session, (_, heard_s) = next(iter(self._of.items()))
            if now - heard_s < self.idle_s:
                return
            self.ended(session)

    def validate(self) -> None:
        """Assert the class invariant; on in tests, off in service."""
        clients = [client for client, _ in self._of.values()]
        assert self._counts == {client: clients.count(client) for client in clients}
