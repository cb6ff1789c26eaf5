"""When a store that fails is left alone: calls then fail at once, and cost nobody a deadline."""

import random
import time
from dataclasses import dataclass

from octopull.kernel.errors import Unavailable

FAILURES_MAX = 5
"""Failures in a row before a store is left alone: what fails may be one object."""

REST_S = 1.0
REST_S_MAX = 30.0
"""First and longest rest; it doubles."""


@dataclass(slots=True)
class Circuit:
    """The state of one store. After each rest one call is let through, to see."""

    failures: int = 0
    rests_until_s: float = 0.0
    reason: str = ""

    def check(self) -> None:
        """Raise Unavailable if the store is to be left alone now."""
        now_s = time.monotonic()
        if now_s < self.rests_until_s:
            raise Unavailable(f"left alone for a while since it fails: {self.reason}",
                              rests_s=self.rests_until_s - now_s)  # fmt: skip
        if self.failures >= FAILURES_MAX:
            # This call is the probe; those behind it wait for what it finds.
            self.rests_until_s = now_s + REST_S

    def worked(self) -> None:
        """The store answered, be it that something is not there."""
        self.failures, self.rests_until_s = 0, 0.0

    def failed(self, fault: Unavailable) -> None:
        """A call failed, after all repeats."""
        self.failures, self.reason = self.failures + 1, str(fault)
        rest_s = asked_s(fault)
        if self.failures >= FAILURES_MAX:
            doublings = min(self.failures - FAILURES_MAX, 10)
            rest_s = max(rest_s, min(REST_S * 2**doublings, REST_S_MAX))
        if rest_s > 0:
            # Not all origins at the same moment.
            self.rests_until_s = time.monotonic() + rest_s * random.uniform(1.0, 1.25)


def asked_s(fault: Unavailable) -> float:
    """How long the store asks to be left alone."""
    rests_s = fault.details.get("rests_s", 0.0)
    return float(rests_s) if isinstance(rests_s, int | float) else 0.0
