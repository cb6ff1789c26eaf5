"""What the core is told (events, past participles) and what it orders (commands, imperatives).

``conn`` numbers one connection of one swarm and is never used twice.
"""

from dataclasses import dataclass
from enum import Enum, auto

from octopull.kernel.peers import Peer
from octopull.swarm.messages import Message, Reason


class Dialed(Enum):
    """Who opened a connection."""

    BY_US = auto()
    BY_THEM = auto()


@dataclass(frozen=True, slots=True)
class Started:
    """The swarm begins."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """A tracker named ``peers``, and asks for the next announce in ``interval_s``."""

    peers: tuple[Peer, ...]
    interval_s: float


@dataclass(frozen=True, slots=True)
class AnnounceFailed:
    """No tracker answered."""


@dataclass(frozen=True, slots=True)
class DialFailed:
    """The peer could not be reached, or its handshake was no good."""

    peer_id: str


@dataclass(frozen=True, slots=True)
class Connected:
    """A handshake is done. They hold ``holds``; we told them that we hold ``told``."""

    conn: int
    peer: Peer
    dialed: Dialed
    holds: int
    told: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection broke."""

    conn: int


@dataclass(frozen=True, slots=True)
class Received:
    """The peer said ``message``; for a ``PieceHead``, its body is still to come."""

    conn: int
    message: Message


@dataclass(frozen=True, slots=True)
class Progressed:
    """Body bytes came in; told at most once a second per connection."""

    conn: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole body is in memory and is being proven: the piece is busy, not had."""

    conn: int
    piece: int


@dataclass(frozen=True, slots=True)
class Verified:
    """The body matched its hash and is written."""

    conn: int
    piece: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The body did not match its hash; nothing was written."""

    conn: int
    piece: int


@dataclass(frozen=True, slots=True)
class Acquired:
    """A piece was proven and written that came from no peer."""

    piece: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """The hashes of the first ``pieces`` pieces are known by now."""

    pieces: int


@dataclass(frozen=True, slots=True)
class Served:
    """A whole body was handed to the kernel."""

    conn: int
    piece: int


@dataclass(frozen=True, slots=True)
class Sought:
    """A streaming reader waits for ``piece``; None: nobody waits."""

    piece: int | None


@dataclass(frozen=True, slots=True)
class Ticked:
    """The wake-up the core asked for has come."""


Event = (
    Started | Discovered | AnnounceFailed | DialFailed | Connected | Disconnected | Received
    | Progressed | Arrived | Verified | Refused | Acquired | Learnt | Served | Sought | Ticked
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Send:
    """Say ``message``."""

    conn: int
    message: Message


@dataclass(frozen=True, slots=True)
class Serve:
    """Send head and body of ``piece``; bodies of a lower ``rank`` go first."""

    conn: int
    piece: int
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Drop the queued ``piece`` and say ``Reject``, unless its body has begun."""

    conn: int
    piece: int


@dataclass(frozen=True, slots=True)
class Take:
    """Receive the announced body into memory and prove it."""

    conn: int
    piece: int


@dataclass(frozen=True, slots=True)
class Skip:
    """Receive the announced body and throw it away."""

    conn: int
    piece: int


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to ``peer``; ends in ``Connected`` or ``DialFailed``."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Close:
    """Say goodbye and hang up; no ``Disconnected`` follows."""

    conn: int
    reason: Reason
    because: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell a tracker; ends in ``Discovered`` or ``AnnounceFailed``."""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Tick the core at ``when`` (seconds, core clock). Replaces the last one."""

    when: float


@dataclass(frozen=True, slots=True)
class Completed:
    """Every piece is verified; ordered once."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Nothing came for too long; ordered once."""

    because: str


@dataclass(frozen=True, slots=True)
class Retired:
    """Complete, and nobody asked for anything for long; ordered once."""


Command = (
    Send | Serve | Withdraw | Take | Skip | Dial | Close | Announce | WakeAt | Completed | GaveUp
    | Retired
)  # fmt: skip
