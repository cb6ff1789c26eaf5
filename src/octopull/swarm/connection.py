"""One conversation with a peer: what it holds, what each side was asked for."""

from dataclasses import dataclass, field

from octopull.kernel.peers import Peer
from octopull.swarm.events import Dialed
from octopull.swarm.pipeline import Pipeline


@dataclass(slots=True)
class Connection:
    """The state of one connection, from ``Connected`` to its end.

    ``holds`` are the pieces the peer has; ``serving`` those it asked us for that have not
    been handed to the kernel; ``receiving`` is the piece whose body is on its way in.
    """

    conn: int
    peer: Peer
    dialed: Dialed
    holds: int
    pipeline: Pipeline
    serving: set[int] = field(default_factory=set[int])
    receiving: int | None = None

    def dialer(self, me: str) -> str:
        """The id of the peer that opened the connection; ``me`` is ours."""
        return me if self.dialed is Dialed.BY_US else self.peer.id

    def validate(self) -> None:
        """Assert what holds within a connection."""
        self.pipeline.validate()
        assert len(self.serving) <= self.pipeline.limits.served_queue_max
