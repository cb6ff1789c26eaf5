"""How patient the members of a group are."""

from dataclasses import dataclass

from octopull.kernel.errors import Misuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults suit a network with round trips below 100 ms and disks that sync in as much."""

    heartbeat_s: float = 0.3
    """A leader that has nothing to say says so this often."""

    election_s: float = 1.5
    """Silence after which a leader counts as gone; each waits up to as long again, by chance."""

    batch_bytes_max: int = 1024 * 1024
    """In one message, unless one entry alone is longer."""

    log_bytes_max: int = 16 * 1024 * 1024
    """Then the older half is forgotten, and who lacks it gets the book."""

    def __post_init__(self) -> None:
        if self.election_s <= 2 * self.heartbeat_s:
            raise Misuse("a leader must have time for two heartbeats", election_s=self.election_s)
