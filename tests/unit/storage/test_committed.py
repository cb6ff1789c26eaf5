"""What became of upload sessions is known after a restart, and what is old is forgotten."""

import os
from pathlib import Path

import pytest

from octopull.kernel.digest import Algorithm, Digest
from octopull.storage import committed
from octopull.storage.committed import Committed

SESSIONS = [f"{number:032x}" for number in range(5)]


def test_what_a_session_became_is_known_after_a_restart(tmp_path: Path) -> None:
    for algorithm in Algorithm:
        digest = Digest.of(b"blob", algorithm)
        Committed(tmp_path).note(algorithm, digest)
        assert Committed(tmp_path).of(algorithm) == digest
    assert Committed(tmp_path).of(SESSIONS[0]) is None


def test_the_oldest_are_forgotten_and_take_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committed, "COUNT_MAX", 2)
    noted = Committed(tmp_path)
    digest = Digest.of(b"blob")
    for second, session in enumerate(SESSIONS):
        noted.note(session, digest)
        link = tmp_path / "committed" / session
        os.utime(link, (second, second), follow_symlinks=False)
    for one in (noted, Committed(tmp_path)):
        assert [session for session in SESSIONS if one.of(session)] == SESSIONS[-2:]
    monkeypatch.setattr(committed, "COUNT_MAX", 1)
    assert Committed(tmp_path).of(SESSIONS[-2]) is None, "those of an earlier process go first"
    assert [path.name for path in (tmp_path / "committed").iterdir()] == SESSIONS[-1:]


def test_what_is_no_note_is_none(tmp_path: Path) -> None:
    Committed(tmp_path)
    (tmp_path / "committed" / SESSIONS[0]).symlink_to("../../etc/passwd")
    (tmp_path / "committed" / SESSIONS[1]).write_bytes(b"")
    found = Committed(tmp_path)
    assert [found.of(session) for session in SESSIONS[:2]] == [None, None]
