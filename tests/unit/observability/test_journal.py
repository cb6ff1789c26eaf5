import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from octopull.blob.layout import LEAF_BYTES, Layout
from octopull.cli.replay import replay as replay_command
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Diverged, Misuse, Unavailable, Unsupported
from octopull.kernel.peers import Peer, PeerKind
from octopull.observability.journal import BYTES_MAX, Journal, read, replay
from octopull.observability.plain import plain, typed
from octopull.swarm.engine import Engine
from octopull.swarm.events import Command, Connected, Dialed, Discovered, Event, Started, Ticked
from octopull.swarm.limits import SwarmLimits

PIECES = 20_000  # their set has more digits than Python prints
PEER = Peer(id="b" * 40, host="::1", port=1, kind=PeerKind.ORIGIN)
MADE_OF: dict[str, Any] = {
    "me": "a" * 40,
    "layout": Layout(PIECES * LEAF_BYTES, LEAF_BYTES),
    "have": 1 << (PIECES - 1),
    "limits": SwarmLimits(silence_s=7.5),
    "salt": 2**64 - 1,
}
EVENTS: list[tuple[float, Event]] = [
    (0.1, Started()),
    (0.2, Discovered((PEER,), 3.0)),
    (0.1 + 0.2, Connected(1, PEER, Dialed.BY_US, (1 << PIECES) - 1, 0)),
    (30.0, Ticked()),
]

st.register_type_strategy(float, st.floats(allow_nan=False))
st.register_type_strategy(int, st.integers() | st.integers(0, 1 << 20_000))
st.register_type_strategy(Digest, st.builds(Digest.of, st.binary()))
st.register_type_strategy(
    Peer,
    st.builds(
        Peer,
        id=st.text("0123456789abcdef", min_size=40, max_size=40),
        host=st.sampled_from(["::1", "host.example"]),
        port=st.integers(1, 65535),
        zone=st.sampled_from(["", "zone-ä"]),
    ),
)


def run(path: Path, bytes_max: int = BYTES_MAX) -> None:
    """What a shell does: tells a core, and the journal what came of it."""
    engine, journal = Engine(**MADE_OF), Journal(path, MADE_OF, bytes_max)
    for now, event in EVENTS:
        journal.record(now, event, engine.handle(event, now))
    journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    run(tmp_path / "one.jsonl")
    return tmp_path / "one.jsonl"


def rewrite(path: Path, line: int, change: Callable[[Any], Any]) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps(change(json.loads(lines[line - 1])))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("hint", [*get_args(Event), *get_args(Command)])
@given(data=st.data())
def test_every_event_and_command_survives_the_way_through_json(
    hint: type, data: st.DataObject
) -> None:
    value = data.draw(st.from_type(hint))
    union = Event if hint in get_args(Event) else Command
    assert typed(union, json.loads(json.dumps(plain(value)))) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
shaped = st.dictionaries(
    st.sampled_from([one.__name__ for one in get_args(Event)]),
    st.dictionaries(st.sampled_from(["conn", "piece", "peer", "message"]), json_values),
    min_size=1,
    max_size=1,
)


@given(json_values | shaped)
def test_any_other_json_is_refused_or_an_event(value: Any) -> None:
    with contextlib.suppress(Misuse):
        assert isinstance(typed(Event, value), Event)


def test_numbers_that_readers_of_json_would_round_are_text() -> None:
    assert plain((1 << 53) - 1) == 9007199254740991
    assert plain(1 << 53) == "0x20000000000000"
    assert plain(-(1 << 53)) == "-0x20000000000000"


def test_what_has_no_plain_form_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Misuse):
        Journal(tmp_path / "one", {"me": object()})
    assert not list(tmp_path.iterdir())


def test_what_was_recorded_replays(path: Path) -> None:
    assert replay(path) == len(EVENTS)
    entries = list(read(path))
    assert [(entry.now, entry.event) for entry in entries] == EVENTS
    assert sum(len(entry.commands) for entry in entries) > len(EVENTS)


def test_a_journal_overwrites_no_other(path: Path) -> None:
    with pytest.raises(Unavailable):
        Journal(path, MADE_OF)


def test_a_torn_last_line_is_left_out(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for torn in (1, len(last) // 2, len(last) - 1):
        path.write_bytes(whole[:-torn])
        assert replay(path) == len(EVENTS) - 1


def test_what_a_killed_process_left_replays(tmp_path: Path) -> None:
    engine, journal = Engine(**MADE_OF), Journal(tmp_path / "one", MADE_OF)
    assert replay(tmp_path / "one") == 0
    journal.record(5.0, Started(), engine.handle(Started(), 5.0))
    assert replay(tmp_path / "one") == 1  # as much is on its way to the disk, unclosed
    journal.close()


def test_a_full_journal_says_so_once_and_replays_so_far(tmp_path: Path, path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    room = sum(map(len, lines[:3]))
    run(tmp_path / "short", room)
    short = (tmp_path / "short").read_bytes().splitlines(keepends=True)
    assert short[:3] == lines[:3]
    assert [list(json.loads(line)) for line in short[3:]] == [["stopped"]]
    assert replay(tmp_path / "short") == 2


def test_a_changed_command_is_found_out(path: Path) -> None:
    def other_conn(entry: Any) -> Any:
        entry[2][0]["Send"]["conn"] = 7
        return entry

    rewrite(path, 4, other_conn)
    with pytest.raises(Diverged, match="line 4 differs") as caught:
        replay(path)
    details = caught.value.details
    assert details["line"] == 4
    assert details["event"] == EVENTS[2][1]
    assert details["recorded"] != details["came"]
    for word in ("Connected", '"conn":7', '"conn":1', "recorded", "came"):
        assert word in str(caught.value)


def test_a_command_left_out_and_another_salt_are_found_out(path: Path) -> None:
    whole = path.read_bytes()
    rewrite(path, 2, lambda entry: [*entry[:2], entry[2][1:]])
    with pytest.raises(Diverged, match="line 2 differs"):
        replay(path)
    path.write_bytes(whole)
    rewrite(path, 1, lambda head: {**head, "engine": {**head["engine"], "salt": 1}})
    with pytest.raises(Diverged):
        replay(path)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, b"{}"),
        (1, b"[]"),
        (1, b'{"journal":1,"engine":{}}'),
        (1, b'{"journal":1,"engine":{"mood":1}}'),
        (3, b"\xff"),
        (3, b'{"journal"'),
        (3, b"[1]"),
        (3, b'[1,{"Ended":{}},[]]'),
        (3, b'[1,{"Ticked":{}},[{"Send":{"conn":1}}]]'),
        (3, b'[true,{"Ticked":{}},[]]'),
        (3, b'[1,{"DialFailed":{"peer_id":4}},[]]'),
    ],
)
def test_an_unreadable_line_is_named(path: Path, line: int, text: bytes) -> None:
    lines = path.read_bytes().splitlines()
    lines[line - 1] = text
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(Corrupt, match=f"line {line}") as caught:
        replay(path)
    assert caught.value.details["line"] == line


def test_an_empty_file_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    with pytest.raises(Corrupt):
        replay(tmp_path / "one")


def test_an_unknown_format_is_told_from_damage(path: Path) -> None:
    rewrite(path, 1, lambda head: {**head, "journal": 99})
    with pytest.raises(Unsupported, match="99"):
        replay(path)


def test_the_command_tells_of_each_file_and_fails_if_one_differs(path: Path) -> None:
    bad = path.with_name("bad.jsonl")
    bad.write_bytes(path.read_bytes())
    rewrite(bad, 2, lambda entry: [*entry[:2], []])
    result = CliRunner().invoke(replay_command, [str(bad), str(path)])
    assert result.exit_code == 1
    assert f"{path}: 4 events agree" in result.output
    assert "line 2 differs" in result.output
    assert CliRunner().invoke(replay_command, [str(path)]).exit_code == 0
