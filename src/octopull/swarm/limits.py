"""Every number the core goes by, with its reason."""

from dataclasses import dataclass
from enum import Enum, auto

from octopull.kernel.errors import Misuse

FRAME_BYTES_MAX = 64 * 1024
"""The largest frame is a handshake; 64 KiB hold the bitfield of an 8 TiB blob, and strangers
can make us hold no more than that each."""


class Announces(Enum):
    """Whether the swarm tells a tracker of itself; trackers ask origins instead."""

    YES = auto()
    NO = auto()


class Seeding(Enum):
    """What a complete peer tells others it holds."""

    OPEN = auto()
    """Everything."""
    SPARING = auto()
    """To each a few pieces at a time, those that are least spread (super-seeding)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmLimits:
    """How one peer behaves in one swarm.

    A random graph of degree ten keeps every peer at 80% of its bandwidth or more
    (Kraken's simulations, degree five and up); the rest is room for those who come.
    """

    dials_max: int = 6
    """Connections that a leecher opens itself, whatever the number it accepts: each peer that
    dials as many others by chance makes a random graph. Dialling only up to a number in all ties
    a crowd's members to those who came just before and after, and pieces travel along a chain."""

    accepted_max: int = 9
    """Connections a leecher lets others open, half as many again as it dials: of a crowd, those
    who came first would have all places taken, and those who came last nothing but their dials.
    Some places always stay for its own, or a newcomer whose places strangers took would never meet
    a seeder (uber/kraken#162)."""

    connections_max: int = 16
    """Connections in all; a seeder gives them all to others."""

    depth_max: int = 4
    """Requests outstanding on one connection: at 256 KiB a piece they cover 1 MiB, which is
    8 ms at 1 Gbit/s."""

    silence_s: float = 8.0
    """Seconds without a byte after which a connection's requests are taken back."""

    request_s: float = 30.0
    """Seconds a request may take at the least ..."""

    rate_bytes_per_s_min: int = 64 * 1024
    """... and what must come per second on top of it, or the peer trickles to hold us up."""

    strikes_max: int = 2
    """Times requests are taken back before the connection is closed."""

    window: int = 20
    """Pieces asked for at once over all connections: more than there are connections. With twelve, a
    host with fifteen connections fell behind one with six, which asked each for two."""

    spare: int = 12
    """Asked for beyond the window, of peers that would otherwise have nothing to send."""

    hungry_max: int = 16
    """With fewer pieces to choose from we want to hear of more soon ..."""

    sated_min: int = 48
    """... until there are so many; ..."""

    batch_pieces: int = 8
    """peers hear of pieces when there are so many to tell, ..."""

    batch_s: float = 0.25
    """... or when they were not told for so long, and those with little to choose from ..."""

    pause_share: float = 0.25
    """... after this part of the time that a piece takes, from its request to its last byte: while
    the frame waits, some three more pieces come to share it."""

    promise_s: float = 2.0
    """Peers hear of a piece when its body begins to come, if pieces lately came within so many
    seconds, and that it does not come when it takes longer: well before ``silence_s``, after which
    those who asked for it would take us for dead."""

    origin_wait: int = 8
    """How much longer a line at another peer may be before an origin is asked for what that peer
    has, too: an origin's link is for what nobody else can give."""

    far_wait: int = 64
    """The same for peers of other zones, whose links are dearer still."""

    shown_max: int = 3
    """Pieces that a sparing seed shows each peer beyond those it took."""

    seeding: Seeding = Seeding.OPEN

    served_queue_max: int = 16
    """Requests a peer may have waiting at us; more than it can use is an attack."""

    duplicates_max: int = 2
    """Connections one piece may be asked of at once in the endgame."""

    corrupt_ban_s: float = 300.0
    """A peer that sent wrong bytes is broken or hostile, and neither heals in seconds."""

    fault_ban_s: float = 30.0
    """After other broken rules; a restart of the peer may mend it."""

    redial_s: float = 0.5
    redial_s_max: float = 30.0
    """First and longest pause before a peer that failed is dialled again; it doubles."""

    announce_retry_s: float = 0.5
    announce_retry_s_max: float = 8.0
    """First and longest pause after a failed announce; it doubles."""

    give_up_s: float = 60.0
    """Seconds without one byte of use after which a download fails."""

    starve_s: float = 4.0
    """Seconds in which nothing came and nothing could be asked for, after which a connection to a
    peer that has nothing for us gives its place to another: a crowd whose places are full of each
    other would never dial the seeder that came back."""

    seeder_idle_s: float = 300.0
    """Seconds without a request after which a complete peer leaves the swarm."""

    known_max: int = 1000
    """Peers remembered for dialling."""

    announces: Announces = Announces.YES

    def __post_init__(self) -> None:
        if not 0 < self.accepted_max <= self.connections_max:
            raise Misuse("accepted_max lies in 1..connections_max", accepted_max=self.accepted_max)
        if not 0 < self.dials_max <= self.connections_max:
            raise Misuse("dials_max lies in 1..connections_max", dials_max=self.dials_max)
        if not 0 < self.depth_max <= self.served_queue_max:
            raise Misuse("a peer must accept what a peer may ask", depth_max=self.depth_max)
        if self.window < 1 or self.spare < 0:
            raise Misuse("a piece at least must be asked for", window=self.window)
        if not self.hungry_max < self.sated_min:
            raise Misuse("between hungry and sated must be room", sated_min=self.sated_min)
        if min(self.batch_s, self.starve_s) <= 0 or min(self.batch_pieces, self.shown_max) < 1:
            raise Misuse("a peer must hear of something, some time")
        if not self.promise_s < self.silence_s:
            raise Misuse("a promise ends before patience does", promise_s=self.promise_s)
        if self.pause_share < 0:
            raise Misuse("a pause takes no less than no time", pause_share=self.pause_share)
        if min(self.silence_s, self.request_s, self.give_up_s, self.seeder_idle_s) <= 0:
            raise Misuse("a timeout must lie in the future")
