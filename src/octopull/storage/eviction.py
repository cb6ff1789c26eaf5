"""Which blobs leave the disk: the idle ones, and the least recently used of a full disk."""

from collections.abc import Iterable
from dataclasses import dataclass

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.storage.disk import DiskStore, Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionPolicy:
    """See ``config.services.CacheSettings``; an ``idle_s`` of 0 keeps idle blobs."""

    idle_s: float
    high_watermark: float
    low_watermark: float


def victims(
    entries: Iterable[Entry], policy: EvictionPolicy, used_bytes: int, total_bytes: int,
    now_s: float,
) -> list[Digest]:  # fmt: skip
    """What should go, least recently used first; never what is pinned.

    Counts bytes, not files: above the high watermark just enough goes to reach the low one.
    """
    able = sorted((e for e in entries if not e.pinned), key=lambda e: (e.last_access_s, e.digest))
    full = used_bytes > policy.high_watermark * total_bytes
    excess = used_bytes - policy.low_watermark * total_bytes if full else 0.0
    chosen: list[Digest] = []
    for entry in able:
        idle = policy.idle_s > 0 and now_s - entry.last_access_s >= policy.idle_s
        if idle or excess > 0:
            chosen.append(entry.digest)
            excess -= entry.size
    return chosen


def partials_before_s(
    policy: EvictionPolicy, used_bytes: int, total_bytes: int, now_s: float
) -> float:
    """Partial blobs last written before this may go: the idle ones, on a full disk all."""
    if used_bytes > policy.high_watermark * total_bytes:
        return now_s
    return now_s - policy.idle_s if policy.idle_s > 0 else 0.0


def evict(store: DiskStore, policy: EvictionPolicy, now_s: float) -> list[Digest]:
    """Apply ``policy`` once; returns what went."""
    used_bytes, total_bytes = store.disk_share()
    gone: list[Digest] = []
    for digest in victims(store.entries(), policy, used_bytes, total_bytes, now_s):
        try:
            store.delete(digest)
        except (NotFound, Unavailable):
            continue  # Read or deleted since it was listed: no victim any more.
        gone.append(digest)
    return gone
