"""What a member of a group finds again when it starts."""

from pathlib import Path

import pytest

from octopull.consensus.events import Promise, Rebase, Write
from octopull.consensus.log import Log
from octopull.consensus.member import Promised
from octopull.consensus.messages import Entry
from octopull.kernel.errors import Unavailable
from octopull.storage.group_log import GroupLog, Kept

ONE, TWO, THREE = (Entry(1, b"one"), Entry(1, b"two"), Entry(2, b"three"))


def again(path: Path, book_index: int = 0, book_term: int = 0) -> tuple[Promised, Log]:
    kept = GroupLog(path)
    try:
        return kept.load(book_index, book_term, founding=False)
    finally:
        kept.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


def keep(path: Path, *commands: Kept) -> None:
    kept = GroupLog(path)
    kept.carry_out(commands)
    kept.close()


def test_a_new_one_does_not_count_and_keeps_its_birth(path: Path) -> None:
    promised, log = again(path)
    assert promised.birth
    assert log == Log()
    assert again(path)[0] == promised


def test_what_was_promised_and_written_is_found_again(path: Path) -> None:
    keep(path, Promise(3, "other", 0), Write(0, (ONE, TWO)), Write(1, (THREE,)))
    assert again(path) == (Promised(3, "other", 0), Log(0, 0, [ONE, THREE]))
    keep(path, Rebase(1, 1, keep=True))
    assert again(path, 1, 1)[1] == Log(1, 1, [THREE])


def test_one_with_a_book_from_before_founds_a_group(path: Path) -> None:
    kept = GroupLog(path)
    assert kept.load(1, 0, founding=True) == (Promised(), Log(1, 0))
    kept.close()
    assert again(path, 1, 0) == (Promised(), Log(1, 0))


def test_a_book_that_came_from_another_is_what_the_log_follows(path: Path) -> None:
    keep(path, Promise(2, "", 0), Write(0, (ONE, TWO)))
    assert again(path, 9, 2) == (Promised(2, "", 0), Log(9, 2))
    keep(path, Write(9, (THREE,)))
    assert again(path, 9, 2)[1] == Log(9, 2, [THREE])


def test_whose_book_was_set_back_begins_as_one_that_lost_its_disk(path: Path) -> None:
    keep(path, Promise(2, "", 0), Write(0, (ONE, TWO, THREE)), Rebase(2, 1, keep=True))
    promised, log = again(path, 1, 1)
    assert (promised.term, bool(promised.birth)) == (2, True)
    assert log == Log(1, 1)


def test_what_is_no_log_is_said_to_be_none(path: Path) -> None:
    path.write_bytes(b"something else" * 100)
    with pytest.raises(Unavailable, match="cannot open the log"):
        GroupLog(path)
