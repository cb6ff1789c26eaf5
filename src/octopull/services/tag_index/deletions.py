"""What was deleted, as a feed: agents follow it by its sequence numbers.

A row stands for one digest in one repository, or (with no repository) for bytes that garbage
collection took. When its state changes it moves to the feed's end.
"""

import time
from collections.abc import Sequence

from octopull.clients.tag_index import COLLECTED, DELETED, RESTORED, Change, Changes
from octopull.kernel.digest import Digest
from octopull.services.tag_index.database import Database

KEPT_S = 7 * 86400.0
"""Rows that forbid nothing leave the feed after this; who is away for longer drops less."""

CHANGES_MAX = 1000
"""Rows in one answer."""


class Deletions:
    """The feed in the tag index's database. Calls block and may come from any thread."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, repository: str, digest: Digest, at: float | None = None) -> None:
        """The digest no longer exists in ``repository``; within a transaction or by itself.

        ``at`` is when a client deleted it, wherever that was (seconds since the epoch); None: now.
        """
        self._put(repository, digest, DELETED, at)

    def restore(self, repository: str, digests: Sequence[Digest]) -> None:
        """The digests exist in ``repository`` (again), if they were deleted there."""
        for digest in digests:
            if self.has(repository, digest):
                self._put(repository, digest, RESTORED)

    def collected(self, digests: Sequence[Digest]) -> None:
        """The bytes are gone from the origins."""
        with self._db.transaction():
            for digest in digests:
                self._put("", digest, COLLECTED)

    def has(self, repository: str, digest: Digest) -> bool:
        """Whether the digest was deleted from ``repository`` and not pushed there since."""
        return bool(
            self._db.read(
                "SELECT 1 FROM deletions WHERE repository = ? AND digest = ? AND state = ?",
                repository,
                str(digest),
                DELETED,
            )
        )

    def after(self, epoch: str, seq: int) -> Changes:
        """Up to ``CHANGES_MAX`` rows behind ``seq``; all from the start for another epoch."""
        numbers = self._db.read("SELECT seq FROM sqlite_sequence WHERE name = 'deletions'")
        last = numbers[0][0] if numbers else 0
        # A number beyond ours is of a file that was set back: its follower begins anew.
        since = seq if epoch == self._db.epoch and seq <= last else 0
        rows = self._db.read(
            "SELECT seq, repository, digest, state FROM deletions WHERE seq > ? "
            "ORDER BY seq LIMIT ?",
            since, CHANGES_MAX,
        )  # fmt: skip
        changes = [
            Change(seq=row[0], repository=row[1], digest=row[2], state=row[3]) for row in rows
        ]
        end = int(rows[-1][0]) if rows else since
        return Changes(epoch=self._db.epoch, seq=end, changes=changes)

    def _put(self, repository: str, digest: Digest, state: str, at: float | None = None) -> None:
        self._db.run(
            "INSERT OR REPLACE INTO deletions (repository, digest, state, changed_at) "
            "VALUES (?, ?, ?, ?)",
            repository, str(digest), state, time.time() if at is None else at,
        )  # fmt: skip

    def prune(self) -> None:
        """Forget old rows that forbid nothing: restored and collected ones."""
        self._db.run(
            "DELETE FROM deletions WHERE state <> ? AND changed_at < ?",
            DELETED, time.time() - KEPT_S,
        )  # fmt: skip
