"""The book of a cluster's repositories: which manifests were pushed, their tags, their references.

A manifest is *recorded* in each repository it was pushed to, until it is deleted there. The
edges from manifests to what they refer to are the same in all repositories, and tell garbage
collection what recorded manifests reach.

A tag's ``store`` is where else it was seen with what it stands for: the url of a backend, or
nothing as long as it was only pushed here.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.kernel.names import TagName
from octopull.oci.manifests import Manifest
from octopull.replication.moves import Move, admitted, along, seen
from octopull.services.tag_index import usage
from octopull.services.tag_index.book_questions import BookQuestions
from octopull.services.tag_index.database import Database, Row
from octopull.services.tag_index.deletions import Deletions
from octopull.services.tag_index.holdings import Holdings
from octopull.services.tag_index.left_uploads import LeftUploads
from octopull.services.tag_index.quota_book import NOTHING, Counted, QuotaBook
from octopull.services.tag_index.replicated import Replicated
from octopull.services.tag_index.tag_moves import TagMoves
from octopull.services.tag_index.tag_tasks import TagTasks
from octopull.storage.task_table import Task

_PUT_TAG = "INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?, ?)"


TOLD_AT_ONCE = 500
"""Tags and manifests in one transaction: those who share a book agree on entries of limited size."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest's digest, its size in bytes, and what it says.

    ``sizes`` are of what it needs, in bytes, as far as they are known.
    """

    digest: Digest
    size: int
    manifest: Manifest
    sizes: Mapping[Digest, int] = field(default_factory=dict[Digest, int])


@dataclass(frozen=True, slots=True)
class Standing:
    """What a tag stands for here (None: nothing), and its ``store``.

    ``pending``: its backend has yet to be told, so that only we know.
    """

    digest: Digest | None
    store: str
    pending: bool


def nowhere(_: str) -> str:
    """The lane of repositories whose tags are kept here alone."""
    return ""


def no_remotes(_: str) -> Iterable[str]:
    """The remotes of repositories that are not replicated."""
    return ()


class TagStore(BookQuestions):
    """Repositories in SQLite. Calls block and may come from any thread; changes are durable.

    ``lane_of`` names the backend that is told of a repository's changes; none if it is empty.
    ``remotes_of`` names the remotes that are. ``clock`` tells the seconds since the epoch.
    ``counted`` are the quotas that what is pushed must fit into.
    """

    def __init__(
        self, path: Path, lane_of: Callable[[str], str] = nowhere,
        remotes_of: Callable[[str], Iterable[str]] = no_remotes,
        clock: Callable[[], float] = time.time, counted: Counted = NOTHING,
    ) -> None:  # fmt: skip
        self.database = Database(path)
        super().__init__(self.database)
        self._clock = clock
        self.tasks = TagTasks(self._db, lane_of, remotes_of)
        self.moves = TagMoves(self._db)
        self.left_uploads = LeftUploads(self._db)
        self.replicated = Replicated(self._db, self.moves)
        self.deletions = Deletions(self._db)
        self.holdings = Holdings(self._db)
        self.quotas = QuotaBook(self._db, self.holdings, counted)

    def book(self) -> str:
        """Names this book, to origins and to followers of its deletions."""
        return self._db.epoch

    def take_over(self) -> None:
        """Go on with a book that another kept until now."""
        self._db.set_epoch()
        self.quotas.forget()
        self.tasks.begin()

    def record(
        self, repository: str, pushed: Pushed, below: Sequence[Pushed], tags: Sequence[str] = (),
        moved_at: float | None = None, operation: str = "", *, exempt: bool = False,
    ) -> bool:  # fmt: skip
        """``pushed`` exists in ``repository``; ``below`` are the manifests it leads to.

        ``tags`` stand for it; those that exist move. Backend and remotes will be told. What was
        done before under the name ``operation`` is not done again.

        ``moved_at``: another cluster tells of it, where that was done then. False, and nothing
        happens, if all ``tags`` were moved or deleted later. ``exempt``: it counts for quotas,
        whether or not there is room.

        Raises:
            Denied: a quota would be exceeded.

        """
        names = [TagName(repository, tag) for tag in tags]
        itself, now_s = str(pushed.digest), self._clock()
        with self._db.transaction():
            if self._db.repeated(operation):
                return moved_at is None or not names or self._any_stands(names, pushed.digest)
            known = [self.moves.of(name) for name in names]
            asked = [admitted(one, pushed.digest, moved_at, now_s) for one in known]
            moves = [(name, move) for name, move in zip(names, asked, strict=True) if move]
            rows: list[Row] = [(*_key(name), itself, move.at, "") for name, move in moves]
            # Who tells of something older is told what counts here; of the same nobody is.
            told = None if moved_at is None else Move(pushed.digest, moved_at)
            news = [name.tag for name, one in zip(names, known, strict=True) if one != told]
            self.tasks.add_for_remotes(repository, news)
            if names and not rows:
                return False
            self._record(repository, pushed, below, exempt=exempt)
            self._db.run_many(_PUT_TAG, rows)
            self.moves.stands(name for name, _ in moves)
            # A tag brings its manifest along; but one about to be forgotten must be looked at.
            alone = not tags or self.tasks.pending(repository, itself)
            self.tasks.add(repository, [*tags, *([itself] if alone else [])])
            if pushed.manifest.subject is not None and not tags:
                self.tasks.add_for_remotes(repository, [itself])
        return True

    def _any_stands(self, names: Iterable[TagName], digest: Digest) -> bool:
        return any(self.moves.of(name).digest == digest for name in names)

    def put(self, name: TagName, pushed: Pushed, below: Sequence[Pushed]) -> None:
        """As ``record``, with one tag."""
        self.record(name.repository, pushed, below, [name.tag])

    def _record(
        self, repository: str, pushed: Pushed, below: Sequence[Pushed], *, exempt: bool
    ) -> None:
        every = pushed, *below
        arriving = {digest: size for one in every for digest, size in one.sizes.items()}
        arriving |= {one.digest: one.size for one in every}
        self.quotas.admit(repository, arriving, exempt=exempt)
        manifest = pushed.manifest
        self._db.run(
            "INSERT OR IGNORE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
            repository, str(pushed.digest), manifest.media_type.value, pushed.size,
            None if manifest.subject is None else str(manifest.subject), manifest.artifact_type,
            msgspec.json.encode(manifest.annotations).decode(),
        )  # fmt: skip
        reached = {pushed.digest: None}
        for one in every:
            children = dict.fromkeys(reference.digest for reference in one.manifest.references)
            reached.update(children)
            rows: list[Row] = [(str(child), str(one.digest)) for child in children]
            self._db.run_many("INSERT OR IGNORE INTO edges VALUES (?, ?)", rows)
            self.holdings.referred(repository, one.digest, one.manifest.references)
        self.deletions.restore(repository, list(reached))

    def delete_tag(self, name: TagName, moved_at: float | None = None, operation: str = "") -> bool:
        """Forget a tag; what it stood for stays. ``operation``: as for ``record``.

        ``moved_at``: another cluster tells of it, where that was done then. False, and nothing
        happens, if the tag moved later.

        Raises:
            NotFound: no such tag.

        """
        with self._db.transaction():
            known = self.moves.of(name)
            found = known.digest is not None
            if self._db.repeated(operation):
                return moved_at is None or not found
            move = admitted(known, None, moved_at, self._clock())
            if not found and (moved_at is None or move is None):
                raise NotFound("no such tag", tag=str(name))
            if move is not None:
                self._delete_tag(name)
                self.moves.deleted(name, move.at)
                self.tasks.add(name.repository, [name.tag] if found else [])
            self.tasks.add_for_remotes(name.repository, [name.tag] if found else [])
        if not found:
            # Still it is known now as deleted: whoever tells of it later told of something older.
            raise NotFound("no such tag", tag=str(name))
        return move is not None

    def _delete_tag(self, name: TagName) -> bool:
        return bool(
            self._db.run(
                "DELETE FROM tags WHERE repository = ? AND folded = ? AND tag = ?", *_key(name)
            )
        )

    def delete_manifest(
        self, repository: str, digest: Digest, moved_at: float | None = None, operation: str = ""
    ) -> list[str]:
        """Forget a manifest in ``repository``, with the tags on it; returns those, and its digest.

        ``moved_at``: as for ``delete_tag``; nothing happens, and nothing is returned, if a tag was
        moved to it later. ``operation``: as for ``record``.

        Raises:
            NotFound: it was not pushed there, or was deleted.

        """
        with self._db.transaction():
            there = repository, str(digest)
            if self._db.repeated(operation):
                kept = moved_at is not None and self.recorded(repository, digest)
                return [] if kept else [str(digest)]
            if not self.recorded(repository, digest):
                raise NotFound("no such manifest", repository=repository, digest=str(digest))
            on_it = "FROM tags WHERE repository = ? AND digest = ?"
            tags = [row[0] for row in self._db.read(f"SELECT tag {on_it}", *there)]
            self.tasks.add_for_remotes(repository, [*tags, str(digest)])
            names, now_s = [TagName(repository, tag) for tag in tags], self._clock()
            asked = [along(self.moves.of(name), moved_at, now_s) for name in names]
            moves = [move for move in asked if move is not None]
            if len(moves) < len(names):
                return []
            self._db.run("DELETE FROM manifests WHERE repository = ? AND digest = ?", *there)
            self._db.run(f"DELETE {on_it}", *there)
            for name, move in zip(names, moves, strict=True):
                self.moves.deleted(name, move.at)
            at = max((now_s, *(move.at for move in moves))) if moved_at is None else moved_at
            self.deletions.add(repository, digest, at)
            self.tasks.add(repository, [*tags, str(digest)])
        return [*tags, str(digest)]

    def blob_pushed(
        self, repository: str, digest: Digest, size: int | None = None, *,
        held: bool, exempt: bool = False, operation: str = "",
    ) -> None:  # fmt: skip
        """A blob of ``size`` bytes, if that is known, exists in ``repository``, even if deleted before.

        It is remembered that it was pushed just there if it is ``held``, or if a quota counts it.
        ``exempt``: as for ``record``; ``operation``, too, if it changes anything: mostly nothing
        is written.

        Raises:
            Denied: a quota would be exceeded.

        """
        held = held or self.quotas.limits(repository)
        arriving = {} if size is None else {digest: size}
        news = held and not self.holdings.was_pushed(repository, digest)
        counts = news or self.quotas.differ(repository, arriving)
        if not counts and not self.deletions.has(repository, digest):
            return
        with self._db.transaction():
            if self._db.repeated(operation):
                return
            if held:
                self.quotas.admit(repository, arriving, exempt=exempt)
                self.holdings.pushed(repository, digest)
            self.deletions.restore(repository, [digest])

    def delete_blob(self, repository: str, digest: Digest, operation: str = "") -> None:
        """Let the blob no longer exist in ``repository``. ``operation``: as for ``record``."""
        with self._db.transaction():
            if not self._db.repeated(operation):
                self.deletions.add(repository, digest)
                self.holdings.dropped(repository, digest)

    def tell(
        self, remote: str, repository: str, references: Sequence[str], *, overwrite: bool
    ) -> None:
        """Have ``remote`` told of tags and manifests; ``overwrite``: as if the tags moved now."""
        for start in range(0, len(references), TOLD_AT_ONCE):
            with self._db.transaction():
                for reference in references[start : start + TOLD_AT_ONCE]:
                    if overwrite:
                        self.moves.renew(TagName(repository, reference), self._clock())
                    self.tasks.add_for_remote(remote, repository, reference)

    # What other stores say.

    def standing(self, name: TagName) -> Standing:
        """What is known of the tag here."""
        rows = self._db.read(
            "SELECT digest, store FROM tags WHERE repository = ? AND folded = ? AND tag = ?",
            *_key(name),
        )
        pending = self.tasks.pending(name.repository, name.tag)
        return Standing(Digest.parse(rows[0][0]) if rows else None, rows[0][1] if rows else "",
                        pending)  # fmt: skip

    def follow(
        self, name: TagName, pushed: Pushed, below: Sequence[Pushed], store: str,
        counts: Callable[[], bool],
    ) -> bool:  # fmt: skip
        """As ``record``, of a tag that stands for ``pushed`` in ``store``; no one is told.

        False, and nothing happens, if the tag was changed here since the store was asked: its
        backend has yet to be told, or can't be, or was meanwhile, as ``counts`` says.
        """
        with self._db.transaction():
            if not self._yields(name, store, counts):
                return False
            # The store's word counts: whoever pushed there was not asked for room here.
            self._record(name.repository, pushed, below, exempt=True)
            at = seen(self.moves.of(name), pushed.digest, self._clock())
            self._db.run(_PUT_TAG, *_key(name), str(pushed.digest), at, store)
            self.moves.stands([name])
        return True

    def lose(self, name: TagName, store: str, counts: Callable[[], bool]) -> bool:
        """There is no such tag in ``store``; as ``follow``."""
        with self._db.transaction():
            return self._yields(name, store, counts) and self._delete_tag(name)

    def _yields(self, name: TagName, store: str, counts: Callable[[], bool]) -> bool:
        standing = self.standing(name)
        same = standing.digest is None or standing.store == store
        return same and not standing.pending and counts()

    def forget(self, repository: str, reference: str) -> None:
        """Have a tag, or a manifest by digest, forgotten that the backend alone knows."""
        with self._db.transaction():
            if ":" in reference:
                self.deletions.add(repository, Digest.parse(reference), self._clock())
            self.tasks.add(repository, [reference])

    def told(self, task: Task, store: str) -> bool:
        """The backend at ``store`` knows what ``task`` was to tell; False if more came since."""
        repository, reference = task.key.split(" ")
        with self._db.transaction():
            if not self.tasks.end(task):
                return False
            self._db.run(
                "UPDATE tags SET store = ? WHERE repository = ? AND folded = ? AND tag = ?",
                store, repository, reference.lower(), reference,
            )  # fmt: skip
        return True

    def forget_untagged(self, repository: str, digest: Digest) -> None:
        """Let an upstream's manifest be collected if no tag stands for it; no deletion is told."""
        there = repository, str(digest)
        with self._db.transaction():
            if not self._db.read("SELECT 1 FROM tags WHERE repository = ? AND digest = ?", *there):
                self._db.run("DELETE FROM manifests WHERE repository = ? AND digest = ?", *there)

    # Garbage collection.

    def collected(self, digests: Sequence[Digest]) -> None:
        """Their bytes are gone: followers hear of it, and their edges go."""
        self.deletions.collected(digests)
        with self._db.transaction():
            # What was pushed again in the meantime needs its edges.
            rows: list[Row] = [(str(digest),) for digest in self.unreferenced(digests)]
            self._db.run_many("DELETE FROM edges WHERE manifest = ?", rows)
            self.holdings.collected(digests)
            usage.collected(self._db, digests)
        self.deletions.prune()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _key(name: TagName) -> tuple[str, str, str]:
    return name.repository, name.tag.lower(), name.tag
