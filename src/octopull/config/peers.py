"""How much of a process its peers may take, over all swarms (docs/limits.md)."""

from dataclasses import dataclass

from octopull.kernel.errors import Misuse

FILES_PER_SWARM = 4
FILES_PER_CONNECTION = 4
"""Swarms hold two files each and connections one; so a quarter of all is left for what else there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """Each is for one process; fewer where the system lets it open fewer files."""

    swarms_max: int = 10_000
    """Swarms that are open, whole blobs and those on their way. An idle one takes some 70 KiB and two
    files, and is left after five minutes."""
    connections_max: int = 4000
    """Connections to peers in all swarms; an eighth of them is for those it opens itself, so that who
    dials it can't keep it from pulling. 250 busy swarms have that many."""

    def __post_init__(self) -> None:
        if self.swarms_max < 1 or self.connections_max < 16:
            raise Misuse("at least one swarm, and 16 connections",
                         swarms_max=self.swarms_max, connections_max=self.connections_max)  # fmt: skip

    def within(self, files_max: int) -> "PeerLimits":
        """As much of it as a process may have that opens ``files_max`` files at most."""
        return PeerLimits(
            swarms_max=max(1, min(self.swarms_max, files_max // FILES_PER_SWARM)),
            connections_max=max(16, min(self.connections_max, files_max // FILES_PER_CONNECTION)),
        )
