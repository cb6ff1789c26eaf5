"""Opinions on which hosts answer: from the calls made to them, and from checks.

An opinion is advice, never a verdict: it says who is asked first, and nobody is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from octopull.kernel.errors import Misuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Hysteresis:
    """How many checks in a row change an opinion: one that flaps with its host is of no use."""

    fails: int = 3
    passes: int = 2

    def __post_init__(self) -> None:
        if min(self.fails, self.passes) < 1:
            raise Misuse("it takes a check to change an opinion", fails=self.fails,
                         passes=self.passes)  # fmt: skip


@dataclass(slots=True)
class Opinion:
    """Whether one host is up; it is until ``fails`` checks in a row say otherwise.

    Invariant, checked by ``validate``: fewer checks speak against it than would change it.
    """

    hysteresis: Hysteresis
    up: bool = True
    _against: int = 0

    def checked(self, *, passed: bool) -> bool:
        """Count one check; whether it changed the opinion."""
        if passed is self.up:
            self._against = 0
            return False
        self._against += 1
        if self._against < self._needed:
            return False
        self.up, self._against = passed, 0
        return True

    @property
    def _needed(self) -> int:
        return self.hysteresis.fails if self.up else self.hysteresis.passes

    def validate(self) -> None:
        """Assert the class invariant."""
        assert 0 <= self._against < self._needed


@dataclass(slots=True)
class Health:
    """Hosts that failed a call lately, until when they are asked last; and those that checks found down.

    Who told what is not so is asked last of all, for ``lied_s``, whatever it answers meanwhile.

    Never empties a list: a host that is doubted is moved to the end, since a wrong opinion
    must not turn into an outage.
    """

    out_s: float = 10.0
    hysteresis: Hysteresis = field(default_factory=Hysteresis)
    lied_s: float = 600.0
    """It was taken over, or is not upgraded yet: neither is over in seconds."""
    _out_until: dict[str, float] = field(default_factory=dict[str, float])
    _lied_until: dict[str, float] = field(default_factory=dict[str, float])
    _opinions: dict[str, Opinion] = field(default_factory=dict[str, Opinion])

    def failed(self, host: str, now: float) -> None:
        """``host`` did not answer a call at ``now`` (seconds, monotonic)."""
        self._out_until[host] = now + self.out_s

    def passed(self, host: str) -> None:
        """``host`` answered a call."""
        self._out_until.pop(host, None)

    def lied(self, host: str, now: float) -> None:
        """``host`` told at ``now`` (seconds, monotonic) what is not so."""
        self._lied_until[host] = now + self.lied_s

    def checked(self, host: str, *, passed: bool) -> bool:
        """``host`` was asked only to see whether it answers; whether that changed the opinion.

        One that is up again is asked again, whatever calls said when it went.
        """
        opinion = self._opinions.setdefault(host, Opinion(self.hysteresis))
        changed = opinion.checked(passed=passed)
        if changed and passed:
            self.passed(host)
        return changed

    def down(self, host: str) -> bool:
        """Whether checks found ``host`` down."""
        return host in self._opinions and not self._opinions[host].up

    def order(self, hosts: Sequence[str], now: float) -> list[str]:
        """``hosts`` in their order, those that are doubted moved to the end, and liars behind them."""
        return sorted(hosts, key=lambda host: self._doubt(host, now))

    def _doubt(self, host: str, now: float) -> int:
        if self._lied_until.get(host, 0.0) > now:
            return 2
        return int(self.down(host) or self._out_until.get(host, 0.0) > now)

    def forget(self, host: str) -> None:
        """It is no member any more."""
        self._opinions.pop(host, None)
        self._out_until.pop(host, None)
        self._lied_until.pop(host, None)
