"""What a transaction leaves in the file."""

from contextlib import closing
from pathlib import Path

import pytest

from octopull.storage import sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(sqlite.connect(tmp_path / "file")) as db:
        db.execute("CREATE TABLE numbers (number INTEGER) STRICT")
    return tmp_path / "file"


def read(path: Path) -> list[int]:
    with closing(sqlite.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT number FROM numbers")]


def test_all_of_it_is_kept(path: Path) -> None:
    with closing(sqlite.connect(path)) as db:
        with sqlite.transaction(db):
            db.execute("INSERT INTO numbers VALUES (1)")
            db.execute("INSERT INTO numbers VALUES (2)")
        assert read(path) == [1, 2]


def test_nothing_is_kept_of_what_fails(path: Path) -> None:
    with closing(sqlite.connect(path)) as db:
        with pytest.raises(KeyError), sqlite.transaction(db):
            db.execute("INSERT INTO numbers VALUES (1)")
            raise KeyError
        with sqlite.transaction(db):
            db.execute("INSERT INTO numbers VALUES (2)")
    assert read(path) == [2]


def test_a_rehearsal_sees_its_own_rows_and_leaves_none(path: Path) -> None:
    with closing(sqlite.connect(path)) as db:
        with sqlite.transaction(db, kept=False):
            db.execute("INSERT INTO numbers VALUES (1)")
            assert db.execute("SELECT number FROM numbers").fetchall() == [(1,)]
        assert read(path) == []
