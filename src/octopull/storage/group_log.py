"""What a member of a group must not forget, as an SQLite file: its promises and its log."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from octopull.consensus.events import Promise, Rebase, Write
from octopull.consensus.log import Log
from octopull.consensus.member import Promised
from octopull.consensus.messages import Entry
from octopull.kernel.errors import Unavailable
from octopull.storage import sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS promised (
    term INTEGER NOT NULL,
    voted_for TEXT NOT NULL,
    birth INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS base (at INTEGER NOT NULL, term INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS entries (
    at INTEGER PRIMARY KEY,
    term INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
"""

Kept = Promise | Write | Rebase


class GroupLog:
    """The file. Calls block; one thread at a time may make them.

    ``carry_out`` returns when what it was given will outlive a loss of power.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite.connect(path, any_thread=True)
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the log in {path}: {error}") from error

    def load(self, book_index: int, book_term: int, *, founding: bool) -> tuple[Promised, Log]:
        """As ``_load``; raises Unavailable: the disk does not tell, or keep it."""
        try:
            return self._load(book_index, book_term, founding=founding)
        except sqlite3.Error as error:
            raise Unavailable(f"the log can't be read: {error}") from error

    def _load(self, book_index: int, book_term: int, *, founding: bool) -> tuple[Promised, Log]:
        """What was kept; the book has the entries up to ``book_index``, the last of ``book_term``.

        A new file's member does not count yet, unless it is ``founding``: then its book was kept
        without a log until now, and is the first entry.
        """
        promised = self._promised()
        if promised is None:
            # The process may have ended after the book was made the first entry.
            if founding or (book_index, book_term) == (1, 0):
                self.carry_out([Promise(0, "", 0), Rebase(1, 0, keep=False)])
                return Promised(), Log(1, 0)
            promised = self._forgotten(0)
        log = self._entries()
        if log.base_index > book_index:
            # Somebody set the book back, so that it lacks what this member has promised to have.
            promised = self._forgotten(promised.term)
        if log.term(book_index) != book_term:
            # The book came from another, and the process ended before the log followed.
            self.carry_out([Rebase(book_index, book_term, keep=False)])
            log = Log(book_index, book_term)
        return promised, log

    def _promised(self) -> Promised | None:
        rows = self._db.execute("SELECT term, voted_for, birth FROM promised").fetchall()
        return Promised(*rows[0]) if rows else None

    def _forgotten(self, term: int) -> Promised:
        promised = Promised(term=term, birth=int.from_bytes(os.urandom(6)) | 1)
        self.carry_out([Promise(term, "", promised.birth)])
        return promised

    def _entries(self) -> Log:
        bases = self._db.execute("SELECT at, term FROM base").fetchall()
        index, term = bases[0] if bases else (0, 0)
        rows = self._db.execute("SELECT term, payload FROM entries ORDER BY at")
        return Log(index, term, [Entry(*row) for row in rows])

    def carry_out(self, commands: Sequence[Kept]) -> None:
        """Do all of it, or nothing.

        Raises:
            Unavailable: the disk does not keep it.

        """
        try:
            with sqlite.transaction(self._db):
                for command in commands:
                    self._do(command)
        except sqlite3.Error as error:
            raise Unavailable(f"the log can't be kept: {error}") from error

    def _do(self, command: Kept) -> None:
        match command:
            case Promise(term, voted_for, birth):
                self._db.execute("DELETE FROM promised")
                self._db.execute("INSERT INTO promised VALUES (?, ?, ?)", (term, voted_for, birth))
            case Write(after, entries):
                self._db.execute("DELETE FROM entries WHERE at > ?", (after,))
                rows = [(after + n, one.term, one.payload) for n, one in enumerate(entries, 1)]
                self._db.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
            case Rebase(index, term, keep):
                gone = "DELETE FROM entries WHERE at <= ?" if keep else "DELETE FROM entries"
                self._db.execute(gone, (index,) if keep else ())
                self._db.execute("DELETE FROM base")
                self._db.execute("INSERT INTO base VALUES (?, ?)", (index, term))

    def close(self) -> None:
        """Close the file."""
        self._db.close()
