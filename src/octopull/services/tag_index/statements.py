"""Changes of the book as its shared log holds them: statements with the values bound to them."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from octopull.kernel.errors import Corrupt

Statement = tuple[str, Sequence[Sequence[Any]]]
"""SQL, and the values of each time it is run."""

Change = Sequence[Statement]
"""A transaction."""

_ALLOWED = {
    sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_TRANSACTION,
}  # fmt: skip
_DECODER = msgspec.msgpack.Decoder(list[tuple[str, list[list[Any]]]])


def encode(change: Change) -> bytes:
    """A transaction as an entry of the log."""
    return msgspec.msgpack.encode(change)


def decode(payload: bytes) -> Change:
    """An entry's transaction; an entry that only marks a term has an empty one.

    Raises:
        Corrupt: it is none.

    """
    if not payload:
        return []
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"the log holds what is no change: {error}") from error


@contextmanager
def nothing_else(connection: sqlite3.Connection) -> Iterator[None]:
    """Refuse statements that do more than read and change rows: they come from another host."""
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
    )
    try:
        yield
    finally:
        connection.set_authorizer(None)
