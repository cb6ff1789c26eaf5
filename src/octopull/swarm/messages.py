"""What peers say to each other. The bodies of pieces are no messages: they follow a ``PieceHead``.

Every ``Request`` is answered exactly once, by ``PieceHead`` and body or by ``Reject``. A
``Cancel`` makes the ``Reject`` likelier and is itself not answered.
"""

from dataclasses import dataclass
from enum import StrEnum

from octopull.kernel.digest import Digest
from octopull.kernel.peers import Peer


class Reason(StrEnum):
    """Why a connection is ended on purpose."""

    FULL = "full"
    DONE = "done"
    SHUTDOWN = "shutdown"
    FAULT = "fault"
    UNKNOWN_BLOB = "unknown_blob"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Handshake:
    """The first message each way: which swarm, who speaks, and what it holds.

    ``info_hash`` has 32 bytes; ``packed`` is a bitfield of the swarm's pieces.
    """

    info_hash: bytes
    digest: Digest
    namespace: str
    peer: Peer
    packed: bytes


@dataclass(frozen=True, slots=True)
class Have:
    """The speaker holds ``piece`` now, proven, or its body is coming in."""

    piece: int


@dataclass(frozen=True, slots=True)
class Haves:
    """The speaker holds or receives all of the set ``pieces`` now; at least one."""

    pieces: int


@dataclass(frozen=True, slots=True)
class Lacks:
    """The speaker does not hold ``piece``: it did not come, or not as soon as the speaker thought."""

    piece: int


@dataclass(frozen=True, slots=True)
class Hungry:
    """The speaker has little to ask for: it wants to hear of each piece at once."""


@dataclass(frozen=True, slots=True)
class Sated:
    """The speaker has plenty to ask for: it can hear of pieces in batches."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reader of the speaker waits for ``piece``, and nobody it knows offers it."""

    piece: int


@dataclass(frozen=True, slots=True)
class Request:
    """The speaker wants ``piece``."""

    piece: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """The speaker no longer wants ``piece``; a body that has begun still comes."""

    piece: int


@dataclass(frozen=True, slots=True)
class Reject:
    """The speaker will not answer the request for ``piece`` with a body."""

    piece: int


@dataclass(frozen=True, slots=True)
class PieceHead:
    """The ``length`` bytes of ``piece`` follow; ``waiting`` other bodies wait for their turn."""

    piece: int
    length: int
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The speaker hangs up after this."""

    reason: Reason


Message = (
    Handshake | Have | Haves | Lacks | Hungry | Sated | Wanted | Request | Cancel | Reject | PieceHead
    | Goodbye
)  # fmt: skip
