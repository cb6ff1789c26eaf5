"""The book of a cluster's repositories: which manifests were pushed, their tags, their references.

A manifest is *recorded* in each repository it was pushed to, until it is deleted there. The
edges from manifests to what they refer to are the same in all repositories, and tell garbage
collection what recorded manifests reach.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from octopull.clients.tag_index import Referrers
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.oci.manifests import Manifest
from octopull.services.tag_index.database import Database, Row
from octopull.services.tag_index.deletions import Deletions

_REACHED = """
WITH RECURSIVE above (digest) AS (
    SELECT ? UNION SELECT edges.manifest FROM edges JOIN above ON edges.child = above.digest
)
SELECT 1 FROM above JOIN manifests ON manifests.digest = above.digest
WHERE ? IN ('', manifests.repository) LIMIT 1
"""
_PAGE_OF_REPOSITORIES = """
WITH RECURSIVE listed (name) AS (
    SELECT min(repository) FROM manifests WHERE repository > ?
    UNION ALL
    SELECT (SELECT min(repository) FROM manifests WHERE repository > name)
    FROM listed WHERE name IS NOT NULL
)
SELECT name FROM listed WHERE name IS NOT NULL LIMIT ?
"""


REFERRERS_BYTES_MAX = 4 * 1024 * 1024
"""In one page: what clients accept as a manifest."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest's digest, its size in bytes, and what it says."""

    digest: Digest
    size: int
    manifest: Manifest


class TagStore:
    """Repositories in SQLite. Calls block and may come from any thread; changes are durable."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path)
        self.deletions = Deletions(self._db)
        self.book = self._db.epoch
        """Names this database, to origins and to followers of its deletions."""

    def record(
        self, repository: str, pushed: Pushed, below: Sequence[Pushed], tags: Sequence[str] = ()
    ) -> None:
        """``pushed`` exists in ``repository``; ``below`` are the manifests it leads to.

        ``tags`` stand for it; those that exist move.
        """
        keys = [_key(TagName(repository, tag)) for tag in tags]
        rows: list[Row] = [(*key, str(pushed.digest), time.time()) for key in keys]
        with self._db.transaction():
            self._record(repository, pushed, below)
            self._db.run_many("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", rows)

    def put(self, name: TagName, pushed: Pushed, below: Sequence[Pushed]) -> None:
        """As ``record``, with one tag."""
        self.record(name.repository, pushed, below, [name.tag])

    def _record(self, repository: str, pushed: Pushed, below: Sequence[Pushed]) -> None:
        manifest = pushed.manifest
        self._db.run(
            "INSERT OR IGNORE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
            repository, str(pushed.digest), manifest.media_type.value, pushed.size,
            None if manifest.subject is None else str(manifest.subject), manifest.artifact_type,
            msgspec.json.encode(manifest.annotations).decode(),
        )  # fmt: skip
        reached = {pushed.digest: None}
        for one in (pushed, *below):
            children = [reference.digest for reference in one.manifest.references]
            reached.update(dict.fromkeys(children))
            rows: list[Row] = [(str(child), str(one.digest)) for child in children]
            self._db.run_many("INSERT OR IGNORE INTO edges VALUES (?, ?)", rows)
        self.deletions.restore(repository, list(reached))

    def get(self, name: TagName) -> Digest:
        """What ``name`` stands for.

        Raises:
            NotFound: no such tag.

        """
        rows = self._db.read(
            "SELECT digest FROM tags WHERE repository = ? AND folded = ? AND tag = ?", *_key(name)
        )
        if not rows:
            raise NotFound("no such tag", tag=str(name))
        return Digest.parse(rows[0][0])

    def delete_tag(self, name: TagName) -> None:
        """Forget a tag; what it stood for stays.

        Raises:
            NotFound: no such tag.

        """
        if not self._db.run(
            "DELETE FROM tags WHERE repository = ? AND folded = ? AND tag = ?", *_key(name)
        ):
            raise NotFound("no such tag", tag=str(name))

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Forget a manifest in ``repository``, with the tags on it.

        Raises:
            NotFound: it was not pushed there, or was deleted.

        """
        with self._db.transaction():
            there = repository, str(digest)
            if not self._db.run(
                "DELETE FROM manifests WHERE repository = ? AND digest = ?", *there
            ):
                raise NotFound("no such manifest", repository=repository, digest=str(digest))
            self._db.run("DELETE FROM tags WHERE repository = ? AND digest = ?", *there)
            self.deletions.add(repository, digest)

    def forget_untagged(self, repository: str, digest: Digest) -> None:
        """Let an upstream's manifest be collected if no tag stands for it; no deletion is told."""
        there = repository, str(digest)
        with self._db.transaction():
            if not self._db.read("SELECT 1 FROM tags WHERE repository = ? AND digest = ?", *there):
                self._db.run("DELETE FROM manifests WHERE repository = ? AND digest = ?", *there)

    # What there is.

    def tags(self, repository: str, count: int, last: str) -> list[str]:
        """Up to ``count`` tags after ``last``, whatever their case (end-8: "lexical order").

        Raises:
            NotFound: nothing was ever pushed to the repository.

        """
        rows = self._db.read(
            "SELECT tag FROM tags WHERE repository = ? AND (folded, tag) > (?, ?) "
            "ORDER BY folded, tag LIMIT ?",
            repository, last.lower(), last, count,
        )  # fmt: skip
        if not rows and not self._knows(repository):
            raise NotFound("no such repository", repository=repository)
        return [row[0] for row in rows]

    def _knows(self, repository: str) -> bool:
        """Whether ``repository`` holds a manifest, or held one."""
        return any(
            self._db.read(f"SELECT 1 FROM {table} WHERE repository = ? LIMIT 1", repository)  # noqa: S608 - our own words
            for table in ("manifests", "deletions")
        )

    def names(self, prefix: str, count: int, last: str) -> list[str]:
        """Up to ``count`` names ``repository:tag`` that begin with ``prefix``, after ``last``."""
        rows = self._db.read(
            "SELECT repository || ':' || tag AS name FROM tags "
            "WHERE substr(repository || ':' || tag, 1, ?) = ? AND name > ? ORDER BY name LIMIT ?",
            len(prefix), prefix, last, count,
        )  # fmt: skip
        return [row[0] for row in rows]

    def repositories(self, count: int, last: str) -> list[str]:
        """Up to ``count`` repositories that hold a manifest, after ``last``, in byte order.

        Leaps from one to the next, so that what a repository holds costs nothing.
        """
        return [row[0] for row in self._db.read(_PAGE_OF_REPOSITORIES, last, count)]

    def holds(self, repository: str, digest: Digest) -> bool:
        """Whether a manifest recorded in ``repository`` is ``digest`` or leads to it."""
        return self._reached(digest, repository)

    def _reached(self, digest: Digest, repository: str = "") -> bool:
        return bool(self._db.read(_REACHED, str(digest), repository))

    def referrers(
        self, repository: str, subject: Digest, artifact_type: str | None, count: int, last: str
    ) -> Referrers:
        """A page of manifests about ``subject``, after the digest ``last``, in order.

        Up to ``count``, and no more than ``REFERRERS_BYTES_MAX`` unless one alone is longer.
        """
        rows = self._db.read(
            "SELECT digest, media_type, size, artifact_type, annotations FROM manifests "
            "WHERE repository = ? AND subject = ? AND digest > ? "
            "AND (? IS NULL OR artifact_type = ?) ORDER BY digest LIMIT ?",
            repository, str(subject), last, artifact_type, artifact_type, count + 1,
        )  # fmt: skip
        found: list[msgspec.Raw] = []
        room = REFERRERS_BYTES_MAX
        for row in rows[:count]:
            encoded = msgspec.json.encode(_descriptor(row))
            room -= len(encoded)
            if room < 0 and found:
                break
            found.append(msgspec.Raw(encoded))
        return Referrers(manifests=found, more=len(found) < len(rows))

    # Garbage collection.

    def unreferenced(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that no recorded manifest is or leads to."""
        return [digest for digest in digests if not self._reached(digest)]

    def collected(self, digests: Sequence[Digest]) -> None:
        """Their bytes are gone: followers hear of it, and their edges go."""
        self.deletions.collected(digests)
        with self._db.transaction():
            # What was pushed again in the meantime needs its edges.
            rows: list[Row] = [(str(digest),) for digest in self.unreferenced(digests)]
            self._db.run_many("DELETE FROM edges WHERE manifest = ?", rows)
        self.deletions.prune()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _key(name: TagName) -> tuple[str, str, str]:
    return name.repository, name.tag.lower(), name.tag


def _descriptor(row: Row) -> dict[str, object]:
    digest, media_type, size, artifact_type, annotations = row
    found: dict[str, object] = {"mediaType": media_type, "digest": digest, "size": size}
    if artifact_type is not None:
        found["artifactType"] = artifact_type
    if annotations != "{}":
        found["annotations"] = msgspec.json.decode(annotations)
    return found
