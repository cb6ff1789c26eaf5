"""When each tag moved last, or was deleted; see ``replication/moves.py`` for what counts."""

from collections.abc import Iterable

from octopull.kernel.digest import Digest
from octopull.kernel.names import TagName
from octopull.replication.moves import NEVER, Move, made_at
from octopull.storage.task_table import Statements

SCHEMA = """
CREATE TABLE IF NOT EXISTS deleted_tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    deleted_at REAL NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deleted_tags_by_age ON deleted_tags (deleted_at);
"""
KEPT_S = 30 * 86400.0
"""How long a deleted tag is known as deleted: longer than a link between clusters is away."""


class TagMoves:
    """The moves in the tag index's database. Calls are as durable as their transaction."""

    def __init__(self, database: Statements) -> None:
        self._db = database

    def of(self, name: TagName) -> Move:
        """The last one of a tag."""
        rows = self._db.read(
            "SELECT digest, moved_at FROM tags WHERE repository = ? AND folded = ? AND tag = ? "
            "UNION ALL SELECT NULL, deleted_at FROM deleted_tags WHERE repository = ? AND tag = ?",
            name.repository, name.tag.lower(), name.tag, name.repository, name.tag,
        )  # fmt: skip
        if not rows:
            return NEVER
        digest, at = rows[0]
        return Move(None if digest is None else Digest.parse(digest), at)

    def stands(self, names: Iterable[TagName]) -> None:
        """These tags stand for something."""
        for name in names:
            self._db.run(
                "DELETE FROM deleted_tags WHERE repository = ? AND tag = ?",
                name.repository, name.tag,
            )  # fmt: skip

    def deleted(self, name: TagName, at: float) -> None:
        """The tag was deleted; those that were so long ago are forgotten."""
        self._db.run(
            "INSERT OR REPLACE INTO deleted_tags VALUES (?, ?, ?)", name.repository, name.tag, at
        )
        self._db.run("DELETE FROM deleted_tags WHERE deleted_at < ?", at - KEPT_S)

    def renew(self, name: TagName, now_s: float) -> None:
        """What the tag stands for, or that it was deleted, counts as if that were done now."""
        at = made_at(now_s, self.of(name))
        self._db.run(
            "UPDATE tags SET moved_at = ? WHERE repository = ? AND folded = ? AND tag = ?",
            at, name.repository, name.tag.lower(), name.tag,
        )  # fmt: skip
        self._db.run(
            "UPDATE deleted_tags SET deleted_at = ? WHERE repository = ? AND tag = ?",
            at, name.repository, name.tag,
        )  # fmt: skip

    def deleted_in(self, repository: str) -> list[str]:
        """Tags of a repository that are known as deleted."""
        rows = self._db.read("SELECT tag FROM deleted_tags WHERE repository = ?", repository)
        return [row[0] for row in rows]
