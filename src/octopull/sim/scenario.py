"""What is simulated: hosts, blobs, links, arrivals, faults. Everything that a run depends on."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from octopull.blob.layout import Layout, piece_length_for
from octopull.kernel.errors import Misuse
from octopull.kernel.units import MIB
from octopull.swarm.limits import Seeding, SwarmLimits

CROWD = 1000
"""Hosts from which on pieces cross links in two parts, to halve the events of bodies."""

LATE_ONE_IN = 10

PATIENCE = 10
"""Bounds after the last fault by which all must be done: a swarm that is merely slow is seen in
the report, this finds the one that hangs."""

PATIENCE_S = 120.0
"""... and seconds on top: bans, pauses before dials and the engine's patience are in seconds,
however short the transfer is."""

CHECK_EVERY = 400
"""A check of one core costs as much as a few dozen events."""


class Arrival(StrEnum):
    """When hosts begin to pull."""

    FLASH = "flash"
    """All within ``arrival_s``, by chance."""
    STAGGERED = "staggered"
    """Evenly over ``arrival_s``."""
    LATE = "late"
    """Nine of ten as in a flash, the rest when half of the bound is over."""


class FaultKind(StrEnum):
    """What may go wrong. Drawn from the seed; see ``octopull.sim.faults``."""

    CRASH = "crash"
    """Processes die and come back with their disks, origins' among them."""
    WIPE = "wipe"
    """Agents die and come back without."""
    CORRUPT = "corrupt"
    """One body of an honest agent arrives damaged."""
    LIAR = "liar"
    """Agents that send wrong bytes always."""
    FREERIDER = "freerider"
    """Agents that take requests and answer none."""
    STALL = "stall"
    """Agents read no bodies for some seconds."""
    TRACKER = "tracker"
    """No tracker answers for some seconds."""
    PARTITION = "partition"
    """Two halves of the hosts can't reach each other for some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run. Rates are in payload bytes per second, of each direction of a host's link."""

    hosts: int = 100
    blobs: tuple[int, ...] = (256 * MIB,)
    """Sizes (bytes) of the blobs there are."""
    times: int = 1
    """So many blobs of each size."""
    pick: int | None = None
    """Blobs that each host pulls, drawn by chance; None: all."""
    piece_length: int | None = MIB
    """Bytes; None: as each blob's size asks for."""
    rate: float = 125e6
    origins: int = 1
    replicas: int | None = None
    """Origins that hold each blob; None: all."""
    origin_rate: float | None = None
    """None: as the hosts'."""
    slow_share: float = 0.0
    """Part of the hosts whose link has a tenth of ``rate``."""
    arrival: Arrival = Arrival.FLASH
    arrival_s: float = 0.1
    zones: int = 1
    """Hosts, and origins, are dealt out to so many zones in turn."""
    latency_s: float = 0.0002
    """One way, within a zone: a data centre's switches and two kernels."""
    zone_latency_s: float = 0.001
    """One way, between zones: some hundred kilometres of glass."""
    quanta: int | None = None
    """Parts in which a piece crosses links; None: four, in a crowd two. A link shared by several
    bodies is shared in turns of that length. More parts are truer for pieces that cross two
    crowded links, and cost events: from four to eight completion times change by less than they
    do between seeds."""
    window: int = 2
    """Parts of a body between the two ends of a connection: with one, a link would idle between a
    part and its acknowledgement; kernels hold about a piece."""
    frame_delay_s: float = 0.0002
    """What a frame waits behind bytes that the kernel has queued while the link is busy: fair
    queueing and small send buffers keep it at a few packets per connection. A link that is held to
    its rate by a queue of its own, as in ``make bench-swarm``, makes it 0.05 s to 0.1 s."""
    prove_bytes_per_s: float = 1.5e9
    """Hashing and writing a piece; one core's BLAKE3 and a page cache."""
    interval_s: float = 3.0
    """Seconds between two announces that the tracker asks for."""
    handout_max: int = 30
    """Peers that it names at once."""
    limits: SwarmLimits = field(default_factory=SwarmLimits)
    uploads_max: int = 4
    turn_s: float = 0.25
    readers: bool = True
    """Whether a client at each host reads in order, and has what it waits for pulled forward."""
    seeding: Seeding = Seeding.SPARING
    """How origins seed."""
    faults: frozenset[FaultKind] = frozenset()
    seed: int = 1
    check_every: int = CHECK_EVERY
    """Events of a swarm between two checks of its invariants, which are checked at its completion
    in any case."""
    story_lines: int = 0
    """The last events of each host to remember, for the report of a failure."""
    until_s: float | None = None
    """When all must be done (virtual seconds); None: long after the bound and the last fault."""

    def __post_init__(self) -> None:
        if self.hosts < 1 or self.origins < 1:
            raise Misuse("a swarm needs a host and an origin")
        if not self.blobs or min(self.blobs) < 1:
            raise Misuse("there must be something to pull")
        if self.times < 1 or not 1 <= self.picked <= len(self.blobs) * self.times:
            raise Misuse("a host pulls one blob at least, and none twice")
        if self.replicas is not None and not 1 <= self.replicas <= self.origins:
            raise Misuse("an origin at least holds a blob, and none twice")
        if self.rate <= 0 or (self.origin_rate is not None and self.origin_rate <= 0):
            raise Misuse("a link must carry something")
        if not 0 <= self.slow_share <= 1:
            raise Misuse("a share lies in 0..1", slow_share=self.slow_share)
        if min(self.zones, self.parts, self.window, self.check_every) < 1:
            raise Misuse("zones, quanta, window and check_every count from one")
        if self.arrival_s < 0:
            raise Misuse("nobody arrives before the start")
        # Refuses piece lengths that no layout has.
        assert self.layouts

    @property
    def layouts(self) -> list[Layout]:
        """How each blob divides into pieces."""
        once = [Layout(size, self.piece_length or piece_length_for(size)) for size in self.blobs]
        return once * self.times

    @property
    def size(self) -> int:
        """Bytes of all blobs together."""
        return sum(self.blobs) * self.times

    @property
    def picked(self) -> int:
        """Blobs that each host pulls."""
        return len(self.blobs) * self.times if self.pick is None else self.pick

    @property
    def share(self) -> float:
        """Part of the blobs that a host pulls: in 0..1."""
        return self.picked / (len(self.blobs) * self.times)

    def holders(self, blob: int) -> list[int]:
        """The origins, by number, that hold ``blob``."""
        count = self.replicas or self.origins
        return sorted((blob + step) % self.origins for step in range(count))

    @property
    def parts(self) -> int:
        """Parts in which a piece crosses links."""
        return self.quanta or (4 if self.hosts <= CROWD else 2)

    @property
    def pieces(self) -> int:
        """Pieces of all blobs together."""
        return sum(layout.count for layout in self.layouts)

    @property
    def bound_s(self) -> float:
        """Seconds that no schedule of whole pieces beats, if all links are equal.

        One piece must double its holders ``ceil(log2 hosts)`` times, and all pieces must pass
        the link of each host. Hosts that pick have the mean of the blobs to pull, among the mean
        number of hosts.
        """
        doublings = max(math.ceil(math.log2(max(self.hosts * self.share, 1))), 1)
        pieces = self.pieces * self.share
        return (pieces + doublings - 1) / pieces * self.size * self.share / self.rate

    @property
    def arrivals_end_s(self) -> float:
        """When the last host begins to pull, at the latest."""
        late_s = self.bound_s / 2 if self.arrival is Arrival.LATE else 0.0
        return max(self.arrival_s, late_s)

    @property
    def faults_end_s(self) -> float:
        """When whatever went wrong is mended again, but for liars and free riders."""
        return self.arrivals_end_s + 1.5 * self.bound_s + 15 if self.faults else 0.0

    @property
    def limit_s(self) -> float:
        """When all must be done (virtual seconds)."""
        if self.until_s is not None:
            return self.until_s
        slowest = self.rate / 10 if self.slow_share else self.rate
        slowest = min(slowest, self.origin_rate or slowest)
        transfer_s = self.bound_s * self.rate / slowest
        return max(self.arrivals_end_s, self.faults_end_s) + PATIENCE * transfer_s + PATIENCE_S
