"""An opinion on which hosts answer, formed from the calls made to them (passive health)."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """Hosts that failed lately, and until when they are asked last.

    Never empties a list: a host that is out is moved to the end, since a wrong opinion
    must not turn into an outage.
    """

    out_s: float = 10.0
    _out_until: dict[str, float] = field(default_factory=dict[str, float])

    def failed(self, host: str, now: float) -> None:
        """``host`` did not answer at ``now`` (seconds, monotonic)."""
        self._out_until[host] = now + self.out_s

    def passed(self, host: str) -> None:
        """``host`` answered."""
        self._out_until.pop(host, None)

    def order(self, hosts: Sequence[str], now: float) -> list[str]:
        """``hosts`` in their order, those that are out moved to the end."""
        return sorted(hosts, key=lambda host: self._out_until.get(host, 0.0) > now)
