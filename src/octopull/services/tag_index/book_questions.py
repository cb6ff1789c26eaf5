"""What the book says: questions about repositories, which change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from octopull.clients.tag_index import Referrers
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.services.tag_index.database import Database, Row

_REACHED = """
WITH RECURSIVE above (digest) AS (
    SELECT ? UNION SELECT edges.manifest FROM edges JOIN above ON edges.child = above.digest
)
SELECT 1 FROM above JOIN manifests ON manifests.digest = above.digest
WHERE ? IN ('', manifests.repository) LIMIT 1
"""
_REACHES = """
WITH RECURSIVE below (digest) AS (
    SELECT ? UNION SELECT edges.child FROM edges JOIN below ON edges.manifest = below.digest
)
SELECT digest, EXISTS (SELECT 1 FROM edges WHERE manifest = below.digest)
    OR EXISTS (SELECT 1 FROM manifests WHERE manifests.digest = below.digest)
FROM below
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
class Reach:
    """All that a manifest leads to, itself included."""

    manifests: list[Digest]
    blobs: list[Digest]


class BookQuestions:
    """Questions to the database. Calls block and may come from any thread."""

    def __init__(self, database: Database) -> None:
        self._db = database

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
        if not rows and not self.knows(repository):
            raise NotFound("no such repository", repository=repository)
        return [row[0] for row in rows]

    def knows(self, repository: str) -> bool:
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

    def listed(self, repository: str) -> dict[str, str]:
        """All tags of a repository, each with its ``store``."""
        rows = self._db.read("SELECT tag, store FROM tags WHERE repository = ?", repository)
        return dict(rows)

    def reach(self, digest: Digest) -> Reach:
        """All that the manifest ``digest`` leads to, as far as it was recorded."""
        found = Reach([], [])
        for text, is_manifest in self._db.read(_REACHES, str(digest)):
            (found.manifests if is_manifest else found.blobs).append(Digest.parse(text))
        return found

    def recorded(self, repository: str, digest: Digest) -> bool:
        """Whether ``repository`` holds the manifest ``digest`` itself."""
        return bool(
            self._db.read(
                "SELECT 1 FROM manifests WHERE repository = ? AND digest = ?",
                repository, str(digest),
            )
        )  # fmt: skip

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

    def unreferenced(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that no recorded manifest is or leads to."""
        return [digest for digest in digests if not self._reached(digest)]


def _descriptor(row: Row) -> dict[str, object]:
    digest, media_type, size, artifact_type, annotations = row
    found: dict[str, object] = {"mediaType": media_type, "digest": digest, "size": size}
    if artifact_type is not None:
        found["artifactType"] = artifact_type
    if annotations != "{}":
        found["annotations"] = msgspec.json.decode(annotations)
    return found
