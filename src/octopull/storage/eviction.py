"""Which blobs leave the disk: the idle and old ones, and the least recently used of a full disk."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from octopull.config.services import CacheSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.storage.disk import DiskStore
from octopull.storage.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionPolicy:
    """See ``config.services.CacheSettings``; 0 seconds keep idle blobs, and old ones."""

    idle_s: float
    life_s: float = 0.0
    high_watermark: float
    low_watermark: float

    @classmethod
    def of(cls, cache: CacheSettings) -> Self:
        """What ``cache`` says."""
        return cls(
            idle_s=cache.idle_s, life_s=cache.life_s,
            high_watermark=cache.high_watermark, low_watermark=cache.low_watermark,
        )  # fmt: skip


def disk_share(folder: Path) -> tuple[int, int]:
    """Bytes used and bytes in all of the file system that ``folder`` is on."""
    stat = os.statvfs(folder)
    return (stat.f_blocks - stat.f_bavail) * stat.f_frsize, stat.f_blocks * stat.f_frsize


def victims(
    entries: Iterable[Entry], policy: EvictionPolicy, used_bytes: int, total_bytes: int,
    now_s: float,
) -> list[Digest]:  # fmt: skip
    """What should go, least recently used first; never what is pinned.

    Counts bytes, not files: above the high watermark just enough goes to reach the low one. A
    blob that is touched is used and new again, though nobody read it.
    """
    able = sorted((e for e in entries if not e.pinned), key=lambda e: (_used_s(e), e.digest))
    full = used_bytes > policy.high_watermark * total_bytes
    excess = used_bytes - policy.low_watermark * total_bytes if full else 0.0
    chosen: list[Digest] = []
    for entry in able:
        idle = policy.idle_s > 0 and now_s - _used_s(entry) >= policy.idle_s
        old = policy.life_s > 0 and now_s - entry.touched_s >= policy.life_s
        if idle or old or excess > 0:
            chosen.append(entry.digest)
            excess -= entry.size
    return chosen


def _used_s(entry: Entry) -> float:
    return max(entry.last_access_s, entry.touched_s)


def partials_before_s(
    policy: EvictionPolicy, used_bytes: int, total_bytes: int, now_s: float
) -> float:
    """Partial blobs last written before this may go: the idle ones, on a full disk all."""
    if used_bytes > policy.high_watermark * total_bytes:
        return now_s
    return now_s - policy.idle_s if policy.idle_s > 0 else 0.0


def evict(store: DiskStore, policy: EvictionPolicy, now_s: float) -> list[Digest]:
    """Apply ``policy`` once; returns what went."""
    used_bytes, total_bytes = disk_share(store.root)
    gone: list[Digest] = []
    for digest in victims(store.entries(), policy, used_bytes, total_bytes, now_s):
        try:
            store.delete(digest)
        except (NotFound, Unavailable):
            continue  # Read or deleted since it was listed: no victim any more.
        gone.append(digest)
    return gone
