"""What each repository holds, so that a blob is given to those alone who may read where it belongs.

A repository holds its recorded manifests, what they refer to, and what was pushed to it and is
not referred to yet. Edges are the same in all repositories, so no more than one is followed, or
two behind an index: whoever pushes a list of digests, as a layer, holds none of them by that. A
foreign layer lives elsewhere, and anybody may name one: such an edge gives nothing.
"""

from collections.abc import Iterable, Sequence

from octopull.kernel.digest import Digest
from octopull.oci import signatures
from octopull.oci.manifests import INDEXES, Descriptor
from octopull.storage.task_table import Statements

SCHEMA = """
CREATE TABLE IF NOT EXISTS pushed_blobs (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pushed_blobs_by_digest ON pushed_blobs (digest);
CREATE TABLE IF NOT EXISTS foreign_edges (
    manifest TEXT NOT NULL,
    child TEXT NOT NULL,
    PRIMARY KEY (manifest, child)
) STRICT, WITHOUT ROWID;
"""
_FORGET = "DELETE FROM pushed_blobs WHERE repository = ? AND digest = ?"
_WHERE_PUSHED = "SELECT repository FROM pushed_blobs WHERE digest = ?"
_KINDS = ", ".join(f"'{kind.value}'" for kind in sorted(INDEXES))
_TRUE = """NOT EXISTS (
    SELECT 1 FROM foreign_edges
    WHERE foreign_edges.manifest = edges.manifest AND foreign_edges.child = edges.child
)"""
_AS_MANIFEST = f"""
SELECT 1 FROM manifests WHERE repository = ?1 AND digest = ?2
UNION ALL
SELECT 1 FROM edges JOIN manifests ON repository = ?1 AND digest = edges.manifest
WHERE edges.child = ?2 AND {_TRUE} AND media_type IN ({_KINDS})
LIMIT 1
"""  # noqa: S608 - our own words
_REFERRED = f"""
WITH above (digest) AS (SELECT manifest FROM edges WHERE child = ?2 AND {_TRUE})
SELECT 1 FROM above JOIN manifests ON repository = ?1 AND manifests.digest = above.digest
UNION ALL
SELECT 1 FROM above JOIN edges ON edges.child = above.digest
JOIN manifests ON repository = ?1 AND manifests.digest = edges.manifest
WHERE {_TRUE} AND media_type IN ({_KINDS})
LIMIT 1
"""  # noqa: S608 - our own words

SIGNED_MAX = 32
"""Manifests told at once of which one must be proven to be signed; one that is will do."""

_ARTIFACTS = ", ".join(f"'{kind}'" for kind in signatures.ARTIFACT_TYPES)
_SIGNED_ABOVE = f"""
WITH true_edges (child, manifest) AS (SELECT child, manifest FROM edges WHERE {_TRUE}),
above (digest, far) AS (
    SELECT ?2, 0
    UNION ALL SELECT manifest, 1 FROM true_edges WHERE child = ?2
    UNION ALL SELECT upper.manifest, 2 FROM true_edges AS lower
    JOIN true_edges AS upper ON upper.child = lower.manifest WHERE lower.child = ?2
)
SELECT DISTINCT here.digest FROM above
JOIN manifests AS here ON here.repository = ?1 AND here.digest = above.digest
WHERE CASE far
    WHEN 0 THEN 1
    WHEN 1 THEN ?3 = 0 OR here.media_type IN ({_KINDS})
    ELSE ?3 = 0 AND here.media_type IN ({_KINDS})
END AND (
    here.artifact_type IN ({_ARTIFACTS})
    OR EXISTS (
        SELECT 1 FROM manifests AS about WHERE about.repository = ?1
        AND about.subject = here.digest AND about.artifact_type IN ({_ARTIFACTS})
    ) OR EXISTS (
        SELECT 1 FROM tags WHERE tags.repository = ?1
        AND folded = replace(here.digest, ':', '-') || '.sig' AND tag = folded
    ) OR EXISTS (
        SELECT 1 FROM tags WHERE tags.repository = ?1
        AND tags.digest = here.digest AND tag GLOB 'sha256-*'
    )
) ORDER BY far LIMIT {SIGNED_MAX}
"""  # noqa: S608 - our own words


class Holdings:
    """Questions and changes in the book's database. Calls block and may come from any thread."""

    def __init__(self, database: Statements) -> None:
        self._db = database

    def pushed(self, repository: str, digest: Digest) -> None:
        """A blob was pushed to ``repository``, or mounted there."""
        if not self.was_pushed(repository, digest):
            self._db.run(
                "INSERT OR IGNORE INTO pushed_blobs VALUES (?, ?)", repository, str(digest)
            )

    def dropped(self, repository: str, digest: Digest) -> None:
        """A blob need not be held any more because it was pushed."""
        if self.was_pushed(repository, digest):
            self._db.run(_FORGET, repository, str(digest))

    def referred(self, repository: str, manifest: Digest, references: Sequence[Descriptor]) -> None:
        """A recorded manifest refers to these; within a transaction."""
        needed = {one.digest for one in references if one.required}
        for digest in {one.digest for one in references} - needed:
            self._db.run(
                "INSERT OR IGNORE INTO foreign_edges VALUES (?, ?)", str(manifest), str(digest)
            )
        for digest in needed:
            self.dropped(repository, digest)

    def collected(self, digests: Iterable[Digest]) -> None:
        """Their bytes are gone; within a transaction."""
        for digest in map(str, digests):
            if self._db.read("SELECT 1 FROM foreign_edges WHERE manifest = ?", digest):
                self._db.run("DELETE FROM foreign_edges WHERE manifest = ?", digest)
            for (repository,) in self._db.read(_WHERE_PUSHED, digest):
                self._db.run(_FORGET, repository, digest)

    def held(self, repository: str, digest: Digest) -> bool:
        """Whether ``repository`` holds it, as whatever."""
        return (
            self.was_pushed(repository, digest)
            or self.held_as_manifest(repository, digest)
            or bool(self._db.read(_REFERRED, repository, str(digest)))
        )

    def held_as_manifest(self, repository: str, digest: Digest) -> bool:
        """Whether it is recorded in ``repository``, or a recorded index lists it."""
        return bool(self._db.read(_AS_MANIFEST, repository, str(digest)))

    def signed_above(self, repository: str, digest: Digest, *, as_manifest: bool) -> list[Digest]:
        """What makes ``digest`` be signed in ``repository``, if it proves to be signed itself.

        That is the manifest ``digest``; indexes that list it; and, unless it is wanted
        ``as_manifest``, manifests that need it, and indexes that list those. Signatures are told
        of, too, as what needs their own parts. Nobody looked at what they sign.
        """
        rows = self._db.read(_SIGNED_ABOVE, repository, str(digest), int(as_manifest))
        return [Digest.parse(found) for (found,) in rows]

    def was_pushed(self, repository: str, digest: Digest) -> bool:
        """Whether it was pushed just there, and is not referred to yet."""
        return bool(
            self._db.read(
                "SELECT 1 FROM pushed_blobs WHERE repository = ? AND digest = ?",
                repository, str(digest),
            )
        )  # fmt: skip
