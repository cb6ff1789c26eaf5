"""How much of each quota is on its way in by upload sessions: pure, told the time."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

SESSIONS_MAX = 100_000
"""Remembered at once; whichever was heard of longest ago is forgotten."""


@dataclass(frozen=True, slots=True)
class _Session:
    quotas: frozenset[str]
    size: int
    heard_s: float


@dataclass(slots=True)
class Arriving:
    """Bytes of sessions that were heard of within ``idle_s``, by the quotas they will count for.

    Invariant, checked by ``validate``: a quota's bytes are the sum of its sessions' sizes.
    """

    idle_s: float
    _sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict[str, _Session])
    _bytes: dict[str, int] = field(default_factory=dict[str, int])

    def heard(self, session: str, quotas: Iterable[str], size: int, now: float) -> None:
        """``session`` holds ``size`` bytes at ``now`` (seconds, monotonic)."""
        self.ended(session)
        if not size:
            return
        found = self._sessions[session] = _Session(frozenset(quotas), size, now)
        for quota in found.quotas:
            self._bytes[quota] = self._bytes.get(quota, 0) + size
        if len(self._sessions) > SESSIONS_MAX:
            self.ended(next(iter(self._sessions)))

    def ended(self, session: str) -> None:
        """``session`` is a blob now, or was given up; one that is not known is none."""
        found = self._sessions.pop(session, None)
        if found is None:
            return
        for quota in found.quotas:
            self._bytes[quota] -= found.size
            if not self._bytes[quota]:
                del self._bytes[quota]

    def beside(self, session: str, quota: str, now: float) -> int:
        """Bytes of ``quota`` in other sessions than ``session``."""
        self._expire(now)
        own = self._sessions.get(session)
        mine = own.size if own is not None and quota in own.quotas else 0
        return self._bytes.get(quota, 0) - mine

    def _expire(self, now: float) -> None:
        while self._sessions:
            session, found = next(iter(self._sessions.items()))
            if now - found.heard_s < self.idle_s:
                return
            self.ended(session)

    def validate(self) -> None:
        """Assert the class invariant; on in tests, off in service."""
        found: dict[str, int] = {}
        for session in self._sessions.values():
            for quota in session.quotas:
                found[quota] = found.get(quota, 0) + session.size
        assert self._bytes == found
