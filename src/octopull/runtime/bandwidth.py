"""How fast bytes may move: rates that can be changed at any time, and what keeps to them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from octopull.config.services import BandwidthSettings

BURST_S = 0.05
"""What a flow may make up for after it was idle or woken late."""

PAUSE_S_MAX = 0.25
"""The longest pause before the limits are asked again: one may have been raised meanwhile."""

QUANTUM_S = 0.01
QUANTUM_BYTES_MIN = 16 * 1024
"""Bytes moved at once under a limit: a hundredth of a second's worth, but no trickle."""


@dataclass(slots=True)
class Rate:
    """Bytes per second, shared by all buckets that keep to it; None: no limit."""

    bytes_per_s: int | None = None


class Bucket:
    """Keeps one kind of traffic to a rate.

    Bytes are paid for after they moved: what was overdrawn is waited for before the next.
    Invariant: over any time t it lets through at most rate * (t + ``BURST_S``) and what moved
    last.
    """

    __slots__ = ("_at", "_clock", "_debt_bytes", "rate")

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._at = clock()
        self._debt_bytes = 0.0

    def wait_s(self) -> float:
        """Seconds until more bytes may move at the present rate; 0 if they may now."""
        rate = self._settle()
        return 0.0 if rate is None or self._debt_bytes < 1 else self._debt_bytes / rate

    def spend(self, count: int) -> None:
        """``count`` bytes have moved."""
        if self._settle() is not None:
            self._debt_bytes += count

    def _settle(self) -> int | None:
        """Pay for the time that went by, and return the rate.

        The debt is in bytes, not in time: a rate that is changed holds for old debts, too.
        """
        rate, now = self.rate.bytes_per_s, self._clock()
        if rate is None:
            self._debt_bytes = 0.0
        else:
            paid = self._debt_bytes - rate * (now - self._at)
            self._debt_bytes = max(paid, -rate * BURST_S)
        self._at = now
        return rate

    def quantum(self) -> int | None:
        """Bytes that may move at once; None: as many as there are."""
        rate = self.rate.bytes_per_s
        return None if rate is None else max(QUANTUM_BYTES_MIN, int(rate * QUANTUM_S))


async def pay(bucket: Bucket, count: int) -> None:
    """``count`` bytes have moved: spend them, and wait for what is owed."""
    bucket.spend(count)
    await keep_to(bucket)


async def keep_to(bucket: Bucket) -> None:
    """Wait until more bytes may move."""
    wait_s = bucket.wait_s()
    if wait_s > 0:
        await asyncio.sleep(wait_s)


class Flow:
    """Traffic that must keep to several buckets: the process's, and its swarm's."""

    __slots__ = ("_buckets",)

    def __init__(self, *buckets: Bucket) -> None:
        self._buckets = buckets

    @property
    def limited(self) -> bool:
        """Whether there is any limit now; all that an unlimited flow costs."""
        return any(bucket.rate.bytes_per_s is not None for bucket in self._buckets)

    def wait_s(self) -> float:
        """Seconds to pause before asking again; 0 if bytes may move now."""
        return min(PAUSE_S_MAX, max(bucket.wait_s() for bucket in self._buckets))

    def spend(self, count: int) -> None:
        """``count`` bytes have moved."""
        for bucket in self._buckets:
            bucket.spend(count)

    def at_once(self, count: int) -> int:
        """As many of ``count`` bytes as may move at once."""
        limits = [limit for bucket in self._buckets if (limit := bucket.quantum()) is not None]
        return min([count, *limits])


class Bandwidth:
    """The limits of a process's peer traffic, in and out, in all and for each swarm."""

    def __init__(self, settings: BandwidthSettings) -> None:
        self.rates = {name: Rate(value) for name, value in asdict(settings).items()}
        """By the names of the settings, to be changed at any time."""
        self._in = Bucket(self.rates["in_bytes_per_s"])
        self._out = Bucket(self.rates["out_bytes_per_s"])

    def flows(self) -> tuple[Flow, Flow]:
        """What a new swarm's connections must keep to: coming in, and going out."""
        return (
            Flow(self._in, Bucket(self.rates["swarm_in_bytes_per_s"])),
            Flow(self._out, Bucket(self.rates["swarm_out_bytes_per_s"])),
        )
