"""What replication reads of the tag index's database."""

from octopull.clients.tag_index import DELETED
from octopull.kernel.digest import Digest
from octopull.replication.book import Listed, ManifestStanding
from octopull.services.tag_index.book_questions import BookQuestions
from octopull.services.tag_index.database import Database
from octopull.services.tag_index.tag_moves import TagMoves

ELSEWHERE_MAX = 20
REFERRERS_MAX = 10_000


class Replicated:
    """Questions to the database. Calls block and may come from any thread."""

    def __init__(self, database: Database, moves: TagMoves) -> None:
        self._db = database
        self._questions = BookQuestions(database)
        self._moves = moves

    def standing(self, repository: str, digest: Digest) -> ManifestStanding:
        """Of a manifest."""
        there = repository, str(digest)
        rows = self._db.read(
            "SELECT subject IS NOT NULL FROM manifests WHERE repository = ? AND digest = ?", *there
        )
        deleted = self._db.read(
            "SELECT changed_at FROM deletions WHERE repository = ? AND digest = ? AND state = ?",
            *there, DELETED,
        )  # fmt: skip
        return ManifestStanding(
            bool(rows), bool(rows and rows[0][0]), deleted[0][0] if deleted else None
        )

    def referrers(self, repository: str, subject: Digest) -> list[Digest]:
        """Manifests about another one."""
        return self._digests(
            "SELECT digest FROM manifests WHERE repository = ? AND subject = ? LIMIT ?",
            repository, str(subject), REFERRERS_MAX,
        )  # fmt: skip

    def elsewhere(self, repository: str, digest: Digest) -> list[str]:
        """Some other repositories with a manifest that refers to ``digest``."""
        rows = self._db.read(
            "SELECT DISTINCT manifests.repository FROM edges JOIN manifests "
            "ON manifests.digest = edges.manifest WHERE edges.child = ? "
            "AND manifests.repository <> ? LIMIT ?",
            str(digest), repository, ELSEWHERE_MAX,
        )  # fmt: skip
        return [row[0] for row in rows]

    def repositories(self, count: int, last: str) -> list[str]:
        """Up to ``count`` after ``last``, in order; those all of whose tags were deleted, too."""
        emptied = self._db.read(
            "SELECT DISTINCT repository FROM deleted_tags WHERE repository > ? ORDER BY 1 LIMIT ?",
            last, count,
        )  # fmt: skip
        held = self._questions.repositories(count, last)
        return sorted({*held, *(row[0] for row in emptied)})[:count]

    def listed(self, repository: str) -> Listed:
        """All that a remote may have of one."""
        rows = self._db.read("SELECT tag, digest FROM tags WHERE repository = ?", repository)
        about = self._digests(
            "SELECT digest FROM manifests WHERE repository = ? AND subject IS NOT NULL", repository
        )
        tags = {tag: Digest.parse(digest) for tag, digest in rows}
        return Listed(repository, tags, self._moves.deleted_in(repository), about)

    def _digests(self, statement: str, *values: object) -> list[Digest]:
        return [Digest.parse(row[0]) for row in self._db.read(statement, *values)]
