"""What each service must be told: one frozen object per service, defaults in the fields."""

import math
from dataclasses import astuple, dataclass, field

from octopull.config.access import AccessSettings
from octopull.config.announcing import Announced, check_announced
from octopull.config.backends import (
    BackendSettings,
    TagBackendSettings,
    WriteBackSettings,
    check_backends,
)  # fmt: skip
from octopull.config.limits import ClientLimits
from octopull.config.membership import (
    DnsSettings,
    HealthSettings,
    check_group,
    check_hosts,
    check_me,
    check_weights,
)  # fmt: skip
from octopull.config.peer_store import PeerStoreSettings
from octopull.config.peers import PeerLimits
from octopull.config.preheating import PreloadSettings
from octopull.config.quotas import QuotaFileSettings
from octopull.config.replication import ReplicationSettings
from octopull.config.tls import ClusterTls, Tls, check_one_tls
from octopull.config.upstreams import UpstreamSettings, names_of
from octopull.kernel.errors import Misuse
from octopull.placement import labels as label
from octopull.placement.heartbeats import INTERVAL_S_MAX

LOOPBACK = "127.0.0.1"
RATE_BYTES_PER_S_MAX = (1 << 53) - 1
GRACE_S_MAX = 100 * 365 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a server listens; port 0 takes any free one."""

    host: str = LOOPBACK
    port: int = 0
    tls: Tls | None = None
    """Without it, HTTP in clear."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise Misuse("a port lies in 0..65535", port=self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthSettings:
    """Limits of peer traffic in bytes per second; null for none. Can be changed at run time."""

    in_bytes_per_s: int | None = None
    out_bytes_per_s: int | None = None
    swarm_in_bytes_per_s: int | None = None
    """For each swarm by itself, below the limit for all."""
    swarm_out_bytes_per_s: int | None = None

    def __post_init__(self) -> None:
        for limit in astuple(self):
            check_rate(limit)


def check_rate(bytes_per_s: int | None) -> None:
    """Raises Misuse: no rate, or one that no arithmetic of ours would bear."""
    if bytes_per_s is not None and not 0 < bytes_per_s <= RATE_BYTES_PER_S_MAX:
        raise Misuse("a limit is positive and below 2**53; null lifts it")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """How this process meets its peers."""

    listen: Listen = field(default_factory=Listen)
    advertise: str = ""
    """The host told to others; empty: the address listened on, which must then be a real one."""
    zone: str = ""
    buffer_bytes_max: int = 64 * 1024 * 1024
    """Piece bodies held in memory at once, over all swarms; reading pauses beyond it."""
    receive_threads: int = 2
    """Threads that hash and write; two keep a 10 Gbit/s link busy (BLAKE3: 2.8 GiB/s each)."""

    dials_max: int = 6
    """Connections of one swarm that this process opens; peers may open half as many again."""
    connections_max: int = 16
    """Connections of one swarm in all."""
    uploads_max: int = 4
    """Piece bodies sent at once, over all swarms: few, so that each arrives early."""
    limits: PeerLimits = field(default_factory=PeerLimits)
    bandwidth: BandwidthSettings = field(default_factory=BandwidthSettings)
    journal: str = ""
    """Folder in which each swarm records what it was told and what it ordered, to be replayed; up
    to 64 MiB a swarm, and never deleted. Empty: nothing is recorded."""

    def __post_init__(self) -> None:
        if not 0 < self.dials_max <= self.connections_max - 2:
            raise Misuse("at least two connections more than are dialled are left to others",
                         dials_max=self.dials_max, connections_max=self.connections_max)  # fmt: skip
        if self.buffer_bytes_max < 16 * 1024 * 1024:
            raise Misuse("one piece of 16 MiB must fit", buffer_bytes_max=self.buffer_bytes_max)
        if self.uploads_max < 1:
            raise Misuse("at least one body must leave", uploads_max=self.uploads_max)
        if self.receive_threads < 1:
            raise Misuse("at least one thread must hash", receive_threads=self.receive_threads)
        if not self.advertise and self.listen.host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared only
            raise Misuse("advertise a host when listening on all addresses")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """When blobs leave the disk."""

    idle_s: float = 6 * 3600.0
    """Seconds without a read after which a blob may go; 0 keeps blobs for ever."""
    life_s: float = 0.0
    """Seconds after it came at which a blob goes, read or not; 0 keeps it."""
    high_watermark: float = 0.90
    """Share of the disk in use above which the least recently used blobs go ..."""
    low_watermark: float = 0.80
    """... until the share is this."""
    scan_s: float = 60.0
    memory_bytes_max: int = 64 * 1024 * 1024
    """Small blobs, such as manifests and configurations, that are kept in memory, too."""
    memory_blob_bytes_max: int = 256 * 1024
    """What counts as small."""

    def __post_init__(self) -> None:
        if not 0 < self.low_watermark <= self.high_watermark <= 1:
            raise Misuse("watermarks must satisfy 0 < low <= high <= 1")
        if self.scan_s <= 0 or min(self.idle_s, self.life_s) < 0:
            raise Misuse("durations must not be negative", scan_s=self.scan_s, idle_s=self.idle_s)
        if min(self.memory_bytes_max, self.memory_blob_bytes_max) < 0:
            raise Misuse("memory has no negative size", memory_bytes_max=self.memory_bytes_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerConfig:
    """The tracker: who has what."""

    origins: list[str]
    listen: Listen = field(default_factory=Listen)
    replicas: int = 2
    weights: dict[str, float] = field(default_factory=dict[str, float])
    """Of some of ``origins``, others' is 1; the same in all services (docs/cluster.md)."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """How it looks whether origins answer."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    """How origins are looked up that are named by DNS."""
    interval_s: float = 3.0
    """Seconds between two announces of a host."""
    peer_ttl_s: float = 30.0
    """Seconds after its last announce at which a peer is forgotten."""
    peer_store: PeerStoreSettings = field(default_factory=PeerStoreSettings)
    """Where several trackers may share what they know of peers (docs/cluster.md)."""
    handout_max: int = 30
    announced: Announced = Announced.ANY
    """Which addresses agents may announce (docs/tls.md)."""
    metainfo_bytes_max: int = 256 * 1024 * 1024
    preheat_ttl_s: float = 3600.0
    """Seconds that a preheat stands after it was put last: agents that start later obey it, too."""
    upstreams: list[UpstreamSettings] = field(default_factory=list[UpstreamSettings])
    """Names alone count; the same in all services."""

    tls: ClusterTls | None = None
    """By what it knows the other services, and they know it (docs/tls.md); null: in clear."""

    def __post_init__(self) -> None:
        check_one_tls(self.listen.tls, self.tls)
        check_weights(self.weights, self.origins)
        names_of(self.upstreams)
        check_hosts("origins", self.origins)
        if not 0 < self.interval_s < self.peer_ttl_s:
            raise Misuse("a peer must outlive the announce interval", peer_ttl_s=self.peer_ttl_s)
        if self.preheat_ttl_s <= 0:
            raise Misuse("a preheat must stand a while", preheat_ttl_s=self.preheat_ttl_s)
        check_announced(self.announced, self.tls)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSettings:
    """How an origin gets back copies that it should have and lacks."""

    every_s: float = 600.0
    """About how long between two comparisons with the others of the ring; 0: never."""
    bytes_per_s: int | None = 100_000_000
    """A disk that is filled anew must not starve pulls; null for no limit."""
    at_once: int = 4
    settle_s: float = 60.0
    """Copies of a blob that was touched so lately may still be on their way."""

    def __post_init__(self) -> None:
        check_rate(self.bytes_per_s)
        if not (0 <= self.every_s < math.inf and 0 <= self.settle_s < math.inf):
            raise Misuse("durations must not be negative", every_s=self.every_s,
                         settle_s=self.settle_s)  # fmt: skip
        if self.at_once < 1:
            raise Misuse("at least one blob at a time", at_once=self.at_once)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginConfig:
    """An origin: durable blobs, their metainfo, and seeds."""

    data: str
    origins: list[str] = field(default_factory=list[str])
    """The ring, this origin included; empty: this origin alone."""
    name: str = ""
    """This origin as the ring writes it, or DNS; empty: the address it listens on."""
    listen: Listen = field(default_factory=Listen)
    peer: PeerSettings = field(default_factory=PeerSettings)
    replicas: int = 2
    weights: dict[str, float] = field(default_factory=dict[str, float])
    """Of some of ``origins``, others' is 1; the same in all services (docs/cluster.md)."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """How it looks whether the other origins answer."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    """How origins are looked up that are named by DNS."""
    upload_idle_s: float = 24 * 3600.0
    blob_bytes_max: int = 1 << 40
    upstreams: list[UpstreamSettings] = field(default_factory=list[UpstreamSettings])
    """Registries whose blobs are fetched here when they are asked for (docs/pull-through.md)."""
    backends: list[BackendSettings] = field(default_factory=list[BackendSettings])
    """Where blobs are written to, and read from when no origin has them (docs/backends.md)."""
    write_back: WriteBackSettings = field(default_factory=WriteBackSettings)
    cache: CacheSettings = field(default_factory=lambda: CacheSettings(idle_s=0.0))
    """When blobs leave the disk: those alone that a backend or an upstream has, too."""
    repair: RepairSettings = field(default_factory=RepairSettings)
    scrub_bytes_per_s: int = 10_000_000
    """How fast blobs are read again to see that the disk still has them; 10 TB take 12 days. 0:
    never."""

    tls: ClusterTls | None = None
    """By what it knows the other services, and they know it (docs/tls.md); null: in clear."""

    def __post_init__(self) -> None:
        check_one_tls(self.listen.tls, self.tls)
        check_weights(self.weights, self.origins)
        names_of(self.upstreams)
        check_backends(self.backends)
        if self.replicas < 1:
            raise Misuse("at least one replica", replicas=self.replicas)
        if self.scrub_bytes_per_s:
            check_rate(self.scrub_bytes_per_s)
        if self.origins:
            check_hosts("origins", self.origins)
            check_me(self.name, self.origins)


@dataclass(frozen=True, slots=True, kw_only=True)
class GcSettings:
    """When blobs that nothing refers to leave the origins."""

    every_s: float = 0.0
    """Seconds between two collections; 0 collects only when asked. Only for a cluster with one
    book: several do not know each other's references, and then refuse to collect."""
    grace_s: float = 86400.0
    """Seconds that a blob stays after it was pushed, pushed again or found by a client, in which
    the manifest that refers to it must follow."""

    def __post_init__(self) -> None:
        if not (0 <= self.every_s < math.inf and 0 <= self.grace_s <= GRACE_S_MAX):
            raise Misuse("durations must not be negative", every_s=self.every_s,
                         grace_s=self.grace_s)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TagIndexConfig:
    """The tag index: the book of repositories."""

    data: str
    origins: list[str]
    listen: Listen = field(default_factory=Listen)
    replicas: int = 2
    weights: dict[str, float] = field(default_factory=dict[str, float])
    """Of some of ``origins``, others' is 1; the same in all services (docs/cluster.md)."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """How it looks whether origins answer."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    """How origins are looked up that are named by DNS."""
    gc: GcSettings = field(default_factory=GcSettings)
    upstreams: list[UpstreamSettings] = field(default_factory=list[UpstreamSettings])
    """Registries whose tags are looked up there."""
    tag_backends: list[TagBackendSettings] = field(default_factory=list[TagBackendSettings])
    """Where tags are written to, and looked up when others move them (docs/backends.md)."""
    name: str = ""
    """This one's ``host:port`` among ``tag_indexes``."""
    tag_indexes: list[str] = field(default_factory=list[str])
    """All that share one book, an odd number, so that any of them may die; the same list in each.
    Empty: this one is alone."""
    replication: ReplicationSettings = field(default_factory=ReplicationSettings)
    """Which other clusters have a copy of what is pushed here (docs/replication.md)."""
    quotas: QuotaFileSettings = field(default_factory=QuotaFileSettings)
    """How much namespaces may hold (docs/limits.md)."""

    tls: ClusterTls | None = None
    """By what it knows the other services, and they know it (docs/tls.md); null: in clear."""

    def __post_init__(self) -> None:
        check_one_tls(self.listen.tls, self.tls)
        check_weights(self.weights, self.origins)
        names_of(self.upstreams)
        check_backends(self.tag_backends)
        check_hosts("origins", self.origins)
        if self.tag_indexes:
            check_hosts("tag_indexes", self.tag_indexes)
            check_group(self.name, self.tag_indexes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """The proxy: OCI push and pull in front of origins and tag index."""

    origins: list[str]
    tag_indexes: list[str]
    listen: Listen = field(default_factory=Listen)
    replicas: int = 2
    weights: dict[str, float] = field(default_factory=dict[str, float])
    """Of some of ``origins``, others' is 1; the same in all services (docs/cluster.md)."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """How it looks whether origins and tag indexes answer."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    """How origins, tag indexes and trackers are looked up that are named by DNS."""
    chunk_bytes_min: int = 0
    """Told to clients that upload in chunks, as ``OCI-Chunk-Min-Length``; 0 tells nothing. Few large
    chunks are cheaper; shorter ones are taken all the same."""
    trackers: list[str] = field(default_factory=list[str])
    """Told of the preheats that a prefetch asks for; without any, those are refused."""
    limits: ClientLimits = field(default_factory=ClientLimits)
    """What one client may take (docs/limits.md)."""
    access: AccessSettings | None = None
    """Who may do what (docs/access.md); without it, whoever comes may do everything."""
    admin: Listen | None = None
    """Where metrics, prefetches and the like are, open to whoever reaches it; else on ``listen``."""
    upstreams: list[UpstreamSettings] = field(default_factory=list[UpstreamSettings])
    """Names alone count; the same in all services."""

    tls: ClusterTls | None = None
    """By what it knows the other services, and they know it (docs/tls.md); null: in clear."""

    def __post_init__(self) -> None:
        check_weights(self.weights, self.origins)
        names_of(self.upstreams)
        check_hosts("origins", self.origins)
        check_hosts("tag_indexes", self.tag_indexes)
        if self.trackers:
            check_hosts("trackers", self.trackers)
        if self.chunk_bytes_min < 0:
            raise Misuse("a chunk has no negative size", chunk_bytes_min=self.chunk_bytes_min)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """The agent: the OCI pull API of one host, fed by the swarm."""

    data: str
    trackers: list[str]
    tag_indexes: list[str]
    dns: DnsSettings = field(default_factory=DnsSettings)
    """How trackers and tag indexes are looked up that are named by DNS."""
    listen: Listen = field(default_factory=Listen)
    peer: PeerSettings = field(default_factory=PeerSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    deletions_s: float = 30.0
    """Seconds between two looks at what was deleted: so long an agent may serve it still."""
    stale_tags_s: float = 0.0
    """How long a tag's last answer is served on, with a warning, while no tag index answers; by
    default not at all, since the tag may have moved."""
    metainfo_wait_s: float = 30.0
    """How long a pull waits for a tracker and an origin that are down before it answers 503."""
    heartbeat_s: float = 15.0
    """Seconds between two words to each tracker: so long until a preheat is heard of."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """What a preheat may choose this agent by, such as ``rack: r7``; its zone is one more."""
    preload: PreloadSettings = field(default_factory=PreloadSettings)
    limits: ClientLimits = field(default_factory=ClientLimits)
    """What one client may take (docs/limits.md)."""
    access: AccessSettings | None = None
    """Who may pull what (docs/access.md); without it, whoever comes may."""
    admin: Listen | None = None
    """Where metrics, status, deletes, limits and preloads are; as the proxy's."""
    upstreams: list[UpstreamSettings] = field(default_factory=list[UpstreamSettings])
    """Names alone count; the same in all services."""

    tls: ClusterTls | None = None
    """By what it knows the other services, and they know it (docs/tls.md); null: in clear."""

    def __post_init__(self) -> None:
        names_of(self.upstreams)
        check_hosts("trackers", self.trackers)
        check_hosts("tag_indexes", self.tag_indexes)
        label.check(self.labels)
        if label.ZONE in self.labels:
            raise Misuse("the zone is set by peer.zone", zone=self.labels[label.ZONE])
        if self.stale_tags_s < 0:
            raise Misuse("stale_tags_s is a time", stale_tags_s=self.stale_tags_s)
        if self.deletions_s <= 0:
            raise Misuse("deletions are looked for every so often", deletions_s=self.deletions_s)
        if not 0 < self.heartbeat_s <= INTERVAL_S_MAX:
            raise Misuse("heartbeat_s is at most an hour", heartbeat_s=self.heartbeat_s)
