"""One conversation with a peer: what it holds, what each side was asked for."""

from dataclasses import dataclass, field
from math import inf
from typing import Self

from octopull.kernel.peers import Peer, PeerKind
from octopull.swarm.events import Dialed
from octopull.swarm.pipeline import Pipeline


@dataclass(slots=True)
class Connection:
    """The state of one connection, from ``Connected`` to its end.

    ``holds`` are the pieces the peer has, ``counted`` those of them that the picker knows of;
    ``told`` are the pieces it knows us to have, or to receive now, ``untold`` those it shall hear
    of, ``retracted`` those that once did not come as told; ``serving`` are the pieces it asked us for that have not been handed to the kernel, ``given`` those that
    have; ``recalled`` those we asked for and would rather have of another; ``receiving`` is the
    piece whose body is on its way in. ``waiting`` is how many bodies waited at the peer when it
    last said so, and ``dear`` how much longer a line elsewhere may be before it is asked for what
    is not scarce. ``hungry`` says whether the peer has little to choose from, and ``told_at`` when it
    was last told of a piece (seconds, core clock).
    """

    conn: int
    peer: Peer
    dialed: Dialed
    holds: int
    told: int
    pipeline: Pipeline
    untold: int = 0
    retracted: int = 0
    counted: int = 0
    recalled: int = 0
    hungry: bool = True
    told_at: float = -inf
    given: int = 0
    waiting: int = 0
    dear: int = 0
    far: bool = False
    serving: set[int] = field(default_factory=set[int])
    receiving: int | None = None

    @classmethod
    def to(
        cls, peer: Peer, conn: int, dialed: Dialed, holds: int, told: int, pipeline: Pipeline,
        zone: str,
    ) -> Self:  # fmt: skip
        """A fresh connection to ``peer``, seen from ``zone``."""
        limits, far = pipeline.limits, peer.zone != zone
        near = limits.origin_wait if peer.kind is PeerKind.ORIGIN else 0
        dear = limits.far_wait if far else near
        return cls(conn, peer, dialed, holds, told, pipeline, dear=dear, far=far)

    @property
    def held(self) -> int:
        """How many pieces the peer has as far as we know, those on their way to it included."""
        return (self.holds | self.given).bit_count()

    def dialer(self, me: str) -> str:
        """The id of the peer that opened the connection; ``me`` is ours."""
        return me if self.dialed is Dialed.BY_US else self.peer.id

    def validate(self) -> None:
        """Assert what holds within a connection."""
        self.pipeline.validate()
        assert len(self.serving) <= self.pipeline.limits.served_queue_max
        assert not self.told & self.untold
