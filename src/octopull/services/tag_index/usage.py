"""What repositories hold together, in bytes, as the book has it.

Repositories hold what they hold by ``holdings``: their recorded manifests, all that those need, and
what was pushed and is not referred to yet. Each digest counts once, however many hold it. Sizes are
noted for what quotas are about; those of older pushes are asked of the origins (``measuring``).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from octopull.kernel.digest import Digest
from octopull.security.globs import Glob
from octopull.storage.task_table import Statements

SCHEMA = """
CREATE TABLE IF NOT EXISTS sizes (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
_HELD = """
WITH RECURSIVE reached (digest) AS (
    SELECT manifests.digest FROM json_each(?1) AS listed
    JOIN manifests ON manifests.repository = listed.value
    UNION
    SELECT edges.child FROM reached JOIN edges ON edges.manifest = reached.digest
    WHERE NOT EXISTS (
        SELECT 1 FROM foreign_edges
        WHERE foreign_edges.manifest = edges.manifest AND foreign_edges.child = edges.child
    )
),
held (digest) AS MATERIALIZED (
    SELECT digest FROM reached
    UNION
    SELECT pushed_blobs.digest FROM json_each(?1) AS listed
    JOIN pushed_blobs ON pushed_blobs.repository = listed.value
)
"""
_WEIGH = f"""{_HELD},
arriving (digest, size, is_held, known) AS (
    SELECT key, value, key IN (SELECT digest FROM held), sizes.size
    FROM json_each(?2) LEFT JOIN sizes ON sizes.digest = key
)
SELECT
    (SELECT coalesce(sum(size), 0) FROM held JOIN sizes ON sizes.digest = held.digest),
    (SELECT coalesce(sum(size - iif(is_held, coalesce(known, size), 0)), 0) FROM arriving),
    (SELECT coalesce(sum(size), 0) FROM arriving WHERE is_held AND known IS NULL)
"""  # noqa: S608 - our own words
_UNKNOWN = f"""{_HELD}
SELECT digest FROM held
WHERE NOT EXISTS (SELECT 1 FROM sizes WHERE sizes.digest = held.digest)
LIMIT ?2
"""  # noqa: S608 - our own words
_HOLDER = """
WITH RECURSIVE above (digest) AS (
    SELECT ?1 UNION SELECT edges.manifest FROM edges JOIN above ON edges.child = above.digest
)
SELECT repository FROM above JOIN manifests ON manifests.digest = above.digest
UNION ALL SELECT repository FROM pushed_blobs WHERE digest = ?1 LIMIT 1
"""
_REPOSITORIES = """
WITH RECURSIVE listed (name) AS (
    SELECT min(repository) FROM {table} WHERE repository >= ?1 AND repository < ?2
    UNION ALL
    SELECT (SELECT min(repository) FROM {table} WHERE repository > name AND repository < ?2)
    FROM listed WHERE name IS NOT NULL
)
SELECT name FROM listed WHERE name IS NOT NULL
"""
_BEHIND_ALL = "~"
"""Sorts behind every character that a repository's name may have."""


class Reading(Protocol):
    """What answers queries."""

    def read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows."""
        ...


def repositories(book: Reading, globs: Iterable[Glob]) -> list[str]:
    """Those that hold something, and match one of ``globs``."""
    found: dict[str, None] = {}
    for glob in globs:
        for table in ("manifests", "pushed_blobs"):
            statement = _REPOSITORIES.format(table=table)
            bounds = glob.prefix, glob.prefix + _BEHIND_ALL
            names = (str(row[0]) for row in book.read(statement, *bounds))
            found.update(dict.fromkeys(name for name in names if glob.matches(name)))
    return list(found)


@dataclass(frozen=True, slots=True)
class Weight:
    """In bytes: what is ``used``, what arrives and would be ``adding`` to that, and what of it was
    ``unnoted``: held before, but of unknown size.
    """

    used: int
    adding: int
    unnoted: int


def weigh(book: Reading, names: Sequence[str], arriving: Mapping[Digest, int]) -> Weight:
    """What repositories ``names`` hold together, and ``arriving``, by sizes in bytes, before ``note``."""
    sizes = json.dumps({str(digest): size for digest, size in arriving.items()})
    return Weight(*map(int, book.read(_WEIGH, json.dumps(names), sizes)[0]))


def unknown(book: Reading, names: Sequence[str], count: int) -> dict[Digest, str]:
    """Up to ``count`` digests that repositories ``names`` hold, whose sizes nobody noted.

    Each with a repository that holds it, whichever.
    """
    found = [str(row[0]) for row in book.read(_UNKNOWN, json.dumps(names), count)]
    return {Digest.parse(text): str(book.read(_HOLDER, text)[0][0]) for text in found}


def differing(book: Reading, sizes: Mapping[Digest, int]) -> set[Digest]:
    """Those that are not known to have these sizes."""
    return {digest for digest, size in sizes.items() if _known(book, digest) != size}


def note(book: Statements, sizes: Mapping[Digest, int]) -> None:
    """Digests have these sizes; those that were lost are back."""
    for digest in differing(book, sizes):
        book.run("INSERT OR REPLACE INTO sizes VALUES (?, ?)", str(digest), sizes[digest])


def collected(book: Statements, digests: Iterable[Digest]) -> None:
    """Their bytes are gone; within a transaction."""
    for digest in digests:
        if _known(book, digest) is not None:
            book.run("DELETE FROM sizes WHERE digest = ?", str(digest))


def _known(book: Reading, digest: Digest) -> int | None:
    rows = book.read("SELECT size FROM sizes WHERE digest = ?", str(digest))
    return int(rows[0][0]) if rows else None
