"""Every metric, declared once: name, meaning, bounded labels (never a digest, tag or peer)."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

HTTP_REQUESTS = Counter(
    "octopull_http_requests_total", "HTTP requests answered.", ["service", "method", "status"]
)
HTTP_SECONDS = Histogram(
    "octopull_http_request_seconds",
    "Seconds until the response was handed over.",
    ["service"],
    buckets=(0.005, 0.025, 0.1, 0.5, 2, 10, 60, 600),
)
FAULTS = Counter("octopull_faults_total", "Faults answered to clients.", ["service", "code"])
PIECES_VERIFIED = Counter("octopull_pieces_verified_total", "Pieces whose hash matched.")
PIECES_REFUSED = Counter("octopull_pieces_refused_total", "Pieces whose hash did not match.")
METAINFO_REFUSED = Counter(
    "octopull_metainfo_refused_total", "Metainfo that no origin answers for, and was not believed."
)
PEER_BYTES_RECEIVED = Counter(
    "octopull_peer_received_bytes_total", "Piece bytes received.", ["kind"]
)
PEER_BYTES_SENT = Counter("octopull_peer_sent_bytes_total", "Piece bytes sent.")
PEER_BYTES_WASTED = Counter(
    "octopull_peer_wasted_bytes_total", "Piece bytes received and thrown away."
)
HOST_UP = Gauge(
    "octopull_host_up", "1 while checks of the service find the host up, else 0.",
    ["by", "cluster", "host"],
)  # fmt: skip
LOOKUPS = Counter(
    "octopull_dns_lookups_total", "Lookups of the members of a cluster.", ["cluster", "outcome"]
)
PEER_CONNECTIONS = Gauge("octopull_peer_connections", "Open peer connections.")
SWARMS = Gauge("octopull_swarms", "Swarms this process takes part in.")
SWARMS_MADE_WAY = Counter(
    "octopull_swarms_made_way_total", "Idle swarms that were left so that others could be opened."
)
MEMORY_HITS = Counter("octopull_memory_hits_total", "Small blobs that were served from memory.")
MEMORY_MISSES = Counter(
    "octopull_memory_misses_total", "Small blobs that came into memory from the disk, proven."
)
MEMORY_BYTES = Gauge(
    "octopull_memory_bytes", "Small blobs in memory, with what keeping them costs."
)
BLOBS_EVICTED = Counter("octopull_blobs_evicted_total", "Blobs evicted from the cache.")
PREHEATS = Counter("octopull_preheats_total", "Preheats that this agent ended.", ["outcome"])
BLOBS_COLLECTED = Counter("octopull_collected_blobs_total", "Blobs taken by garbage collection.")
BYTES_COLLECTED = Counter("octopull_collected_bytes_total", "Their bytes.")
UPSTREAM_BYTES = Counter(
    "octopull_upstream_received_bytes_total", "Blob bytes fetched from upstreams.", ["upstream"]
)
WRITE_BACK_PENDING = Gauge(
    "octopull_write_back_pending", "Tasks to bring a blob to a backend.", ["backend"]
)
WRITE_BACK_OLDEST_SECONDS = Gauge(
    "octopull_write_back_oldest_seconds", "How long the oldest of them has waited."
)
WRITE_BACK_FAILURES = Counter(
    "octopull_write_back_failures_total", "Attempts that failed.", ["backend"]
)
BACKEND_BLOBS_WRITTEN = Counter(
    "octopull_backend_written_blobs_total", "Blobs written to a backend.", ["backend"]
)
BACKEND_BYTES_WRITTEN = Counter(
    "octopull_backend_written_blob_bytes_total", "Their bytes.", ["backend"]
)
BACKEND_DELETES_FAILED = Counter(
    "octopull_backend_deletes_failed_total",
    "Collected blobs that a backend may have still.",
    ["backend"],
)
TAG_WRITE_BACK_PENDING = Gauge(
    "octopull_tag_write_back_pending", "Tags and manifests that a store is to be told of.",
    ["backend"],
)  # fmt: skip
TAG_WRITE_BACK_OLDEST_SECONDS = Gauge(
    "octopull_tag_write_back_oldest_seconds", "How long the oldest of them has waited."
)
TAG_WRITE_BACK_FAILURES = Counter(
    "octopull_tag_write_back_failures_total", "Attempts that failed.", ["backend"]
)
REPLICATION_PENDING = Gauge(
    "octopull_replication_pending", "Tags and manifests that a remote is to be told of.", ["remote"]
)
REPLICATION_OLDEST_SECONDS = Gauge(
    "octopull_replication_oldest_seconds", "How long the oldest of them has waited.", ["remote"]
)
REPLICATION_BYTES = Counter(
    "octopull_replication_bytes_total", "Blob bytes sent to a remote.", ["remote"]
)
REPLICATION_TAGS = Counter(
    "octopull_replication_tags_total",
    "Tags and manifests that a remote was told of, by what came of it.",
    ["remote", "outcome"],
)
REPLICATION_FAILURES = Counter(
    "octopull_replication_failures_total", "Attempts that failed.", ["remote"]
)
REPLICATION_RULES_REFUSED = Gauge(
    "octopull_replication_rules_refused", "1 while the file of rules is wrong and older ones count."
)
ACCESS_FILES_REFUSED = Gauge(
    "octopull_access_files_refused", "1 while a file of access is wrong and an older one counts.",
    ["file"],
)  # fmt: skip
ACCESS_DECISIONS = Counter(
    "octopull_access_decisions_total", "Requests allowed, denied, or asked who they are from.",
    ["service", "action", "outcome"],
)  # fmt: skip
SIGNATURE_DECISIONS = Counter(
    "octopull_signature_decisions_total",
    "Pulls of what has to be signed: signed, refused, or unknown as nobody could tell.",
    ["service", "outcome"],
)
LOGINS = Counter(
    "octopull_logins_total", "What requests showed to prove who they are from.",
    ["service", "kind", "outcome"],
)  # fmt: skip
BACKEND_REQUESTS = Counter(
    "octopull_backend_requests_total", "Requests to a backend.", ["backend", "operation", "outcome"]
)
BACKEND_SECONDS = Histogram(
    "octopull_backend_request_seconds",
    "Seconds until a backend's answer was whole.",
    ["backend", "operation"],
    buckets=(0.005, 0.025, 0.1, 0.5, 2, 10, 60, 600),
)
BACKEND_RECEIVED_BYTES = Counter(
    "octopull_backend_received_bytes_total", "Bytes read from a backend.", ["backend"]
)
BACKEND_SENT_BYTES = Counter(
    "octopull_backend_sent_bytes_total", "Bytes sent to a backend.", ["backend"]
)
SHADOW_FAILED = Counter(
    "octopull_shadow_failed_total", "What the shadow of a backend failed of.", ["backend"]
)
SHADOW_COMPARED = Counter(
    "octopull_shadow_compared_total", "Objects compared with a shadow's.", ["backend", "outcome"]
)
PEER_STORE_UP = Gauge(
    "octopull_peer_store_up", "1 while the peer store that trackers share answers.", ["store"]
)
PEER_STORE_FAILURES = Counter(
    "octopull_peer_store_failures_total",
    "Attempts at the shared peer store that failed.",
    ["store"],
)
PEER_STORE_SECONDS = Histogram(
    "octopull_peer_store_round_trip_seconds",
    "Seconds of a round trip to the shared peer store, of a batch of announces.",
    ["store"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1),
)
PEER_STORE_WORDS = Counter(
    "octopull_peer_store_words_total",
    "Peers that other trackers were told of, and heard of from them.",
    ["store", "direction"],
)
REPLICAS_FAILED = Counter("octopull_replicas_failed_total", "Copies to an owner that failed.")
BLOBS_REPAIRED = Counter(
    "octopull_blobs_repaired_total", "Blobs that an origin lacked and took from another."
)
LIMITED = Counter(
    "octopull_limited_total", "What clients asked beyond their share.", ["service", "limit"]
)
QUOTA_USED_BYTES = Gauge(
    "octopull_quota_used_bytes", "What the repositories of a quota hold.", ["quota"]
)
QUOTA_LIMIT_BYTES = Gauge("octopull_quota_limit_bytes", "What they may hold.", ["quota"])
STRAYS_REMOVED = Counter(
    "octopull_strays_removed_total", "Blobs that an origin did not own, and all owners had."
)
BLOBS_SCRUBBED = Counter("octopull_blobs_scrubbed_total", "Blobs read again to see if they last.")
BLOBS_DAMAGED = Counter("octopull_blobs_damaged_total", "Blobs that the disk damaged, set aside.")
REPAIRS_FAILED = Counter(
    "octopull_repairs_failed_total", "Blobs that an origin lacks and did not get from another."
)

CERTIFICATE_LEFT_SECONDS = Gauge(
    "octopull_certificate_left_seconds",
    "Until a certificate of this process ends; negative once it has.",
    ["file"],
)


def render() -> bytes:
    """All metrics in Prometheus' text format 0.0.4."""
    return generate_latest(REGISTRY)
