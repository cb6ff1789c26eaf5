"""What was deleted in the cluster, followed from the tag index: no longer served, and dropped.

The agent asks every so often, so what was deleted may be served that much longer. A digest
that was deleted from one repository leaves the cache whole; for another it is fetched anew.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from octopull.clients.tag_index import DELETED, RESTORED, Change, TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, InvalidDigest, NotFound, Unavailable
from octopull.observability import logs
from octopull.services.agent.blobs import Blobs
from octopull.storage import durable
from octopull.storage.durable import disk_faults

log = logs.get("agent")
DELETED_MAX = 100_000
"""Deletions remembered; beyond it the oldest are, and their content may be fetched again."""


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the feed: which history, and up to which of its numbers."""

    epoch: str
    seq: int


_START = _Place(epoch="", seq=0)


class Deletions:
    """The follower; ``follow`` runs beside the agent's servers."""

    def __init__(self, tags: TagIndex, blobs: Blobs, every_s: float, state: Path) -> None:
        self._tags = tags
        self._state = state
        self._read = self._dropped = _START
        self._blobs = blobs
        self._every_s = every_s
        self._deleted: dict[tuple[str, str], None] = {}
        self._dropping: dict[Digest, None] = {}

    async def check(self, repository: str, digest: Digest) -> None:
        """Raise NotFound if ``digest`` was deleted from ``repository``.

        A digest that seems deleted may have been pushed again a moment ago: so it is asked
        for once more, and without an answer it counts as deleted.
        """
        key = repository, str(digest)
        if key not in self._deleted:
            return
        try:
            still = await self._tags.deleted(repository, digest)
        except Unavailable as fault:
            log.info("deletions.unknown", repository=repository, reason=str(fault))
            still = True
        if still:
            raise NotFound("deleted from this repository")
        self._deleted.pop(key, None)

    async def follow(self) -> None:
        """Look now and every ``every_s`` seconds, until cancelled."""
        # Many agents start at once; their questions should not come at once for ever.
        pause_s = random.uniform(0.0, self._every_s)
        self._dropped = await asyncio.to_thread(_load, self._state)
        while True:
            try:
                await self.look()
            except Fault as fault:
                log.info("deletions.failed", reason=str(fault))
            await asyncio.sleep(pause_s)
            pause_s = self._every_s

    async def look(self) -> None:
        """Read the feed to its end, and drop what has gone.

        Raises:
            Unavailable: no tag index answers.

        """
        while True:
            found = await self._tags.changes(self._read.epoch, self._read.seq)
            if found.epoch != self._read.epoch:
                self._deleted.clear()
            self._read = _Place(epoch=found.epoch, seq=found.seq)
            if not found.changes:
                break
            self._take(found.changes)
        await self._drop()
        if not self._dropping and self._read != self._dropped:
            await asyncio.to_thread(_save, self._state, self._read)
            self._dropped = self._read

    def _is_news(self, change: Change) -> bool:
        """Whether it is beyond what was dropped before this agent was started last."""
        return self._read.epoch != self._dropped.epoch or change.seq > self._dropped.seq

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            key = change.repository, change.digest
            self._deleted.pop(key, None)
            if change.state == DELETED:
                self._deleted[key] = None
            try:
                digest = Digest.parse(change.digest)
            except InvalidDigest:
                continue  # Of an index that knows more algorithms than we do.
            if change.state == RESTORED:
                self._dropping.pop(digest, None)
            elif self._is_news(change) and len(self._dropping) < DELETED_MAX:
                self._dropping[digest] = None
        while len(self._deleted) > DELETED_MAX:
            del self._deleted[next(iter(self._deleted))]

    async def _drop(self) -> None:
        """Drop what nobody reads; what is being read is tried again at the next look."""
        for digest in list(self._dropping):
            if self._blobs.is_arriving(digest):
                continue
            try:
                await self._blobs.delete(digest)
                log.info("blob.dropped", digest=digest.short)
            except NotFound:
                pass
            except Fault as fault:
                log.info("blob.stays", digest=digest.short, reason=str(fault))
                continue
            self._dropping.pop(digest, None)


def _load(path: Path) -> _Place:
    """Where an earlier process was; the beginning, if that can't be told."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Place)
    except (OSError, msgspec.DecodeError):
        return _START


def _save(path: Path, place: _Place) -> None:
    with disk_faults("remembering what was deleted"):
        durable.put(path, msgspec.json.encode(place))
