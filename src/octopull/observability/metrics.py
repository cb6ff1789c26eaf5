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
PEER_BYTES_RECEIVED = Counter(
    "octopull_peer_received_bytes_total", "Piece bytes received.", ["kind"]
)
PEER_BYTES_SENT = Counter("octopull_peer_sent_bytes_total", "Piece bytes sent.")
PEER_BYTES_WASTED = Counter(
    "octopull_peer_wasted_bytes_total", "Piece bytes received and thrown away."
)
PEER_CONNECTIONS = Gauge("octopull_peer_connections", "Open peer connections.")
SWARMS = Gauge("octopull_swarms", "Swarms this process takes part in.")
BLOBS_EVICTED = Counter("octopull_blobs_evicted_total", "Blobs evicted from the cache.")
PREHEATS = Counter("octopull_preheats_total", "Preheats that this agent ended.", ["outcome"])
BLOBS_COLLECTED = Counter("octopull_collected_blobs_total", "Blobs taken by garbage collection.")
BYTES_COLLECTED = Counter("octopull_collected_bytes_total", "Their bytes.")
UPSTREAM_BYTES = Counter(
    "octopull_upstream_received_bytes_total", "Blob bytes fetched from upstreams.", ["upstream"]
)
REPLICAS_FAILED = Counter("octopull_replicas_failed_total", "Copies to an owner that failed.")


def render() -> bytes:
    """All metrics in Prometheus' text format 0.0.4."""
    return generate_latest(REGISTRY)
