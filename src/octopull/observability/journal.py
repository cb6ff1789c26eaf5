"""The journal of one swarm core: what it was made of, what it was told, what it ordered.

A file of JSON lines, written and read back:

    {"journal": 1, "engine": {"me": ..., "salt": ...}}      the arguments of ``Engine``
    [12.5, {"Received": {...}}, [{"Send": {...}}, ...]]     seconds, event, commands; any number
    {"stopped": "..."}                                      only if the file reached its limit

The core knows no clock and no chance, so the same events give the same commands, in any
process, at any time: ``replay`` proves it of a file, or finds the first event that differs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from octopull.kernel.errors import Corrupt, Diverged, Misuse, Unavailable, Unsupported
from octopull.kernel.units import MIB
from octopull.observability import logs
from octopull.observability.plain import plain, typed
from octopull.swarm.engine import Engine
from octopull.swarm.events import Command, Event

log = logs.get("journal")
FORMAT = 1
BYTES_MAX = 64 * MIB
"""Of one file: some 300,000 events, at about 200 bytes each with their commands."""

FLUSH_S = 1.0
"""What a killed process may lose, as long as events come."""


class Journal:
    """Writes one file; a disk that fails or a limit reached ends the journal, not the swarm.

    Calls come from the loop's thread. Lines are buffered, so a kill may tear the last one.
    """

    def __init__(
        self, path: Path, made_of: Mapping[str, object], bytes_max: int = BYTES_MAX
    ) -> None:
        """Create the file; ``made_of`` are the keyword arguments the engine was built with.

        Raises:
            Misuse: an argument that has no plain form.
            Unavailable: the file can't be written.

        """
        head = {"journal": FORMAT, "engine": {name: plain(one) for name, one in made_of.items()}}
        self._room = bytes_max
        self._flushed_at = 0.0
        try:
            self._file = path.open("xb")
            self._write(head)
            self._file.flush()
        except OSError as error:
            raise Unavailable(f"no journal: {error}") from error

    def record(self, now: float, event: Event, commands: Sequence[Command]) -> None:
        """``event`` came at ``now`` (seconds, core clock), and ``commands`` followed."""
        if self._file.closed:
            return
        try:
            self._write([now, plain(event), [plain(command) for command in commands]])
            if self._room < 0:
                self.close()
            elif now - self._flushed_at >= FLUSH_S:
                self._flushed_at = now
                self._file.flush()
        except OSError as error:
            log.warning("journal.failed", reason=str(error))
            self.close()

    def _write(self, line: object) -> None:
        text = _json(line).encode() + b"\n"
        self._room -= len(text)
        if self._room < 0:
            text = _json({"stopped": "the journal reached its limit of bytes"}).encode() + b"\n"
        self._file.write(text)

    def close(self) -> None:
        """Write out what is buffered; may be called twice."""
        try:
            self._file.close()
        except OSError as error:
            log.warning("journal.failed", reason=str(error))


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a journal, from its ``line`` (the first is 1)."""

    line: int
    now: float
    event: Event
    commands: list[Command]


def read(path: Path) -> Iterator[Entry]:
    """The events in the file at ``path``; a torn last line is left out.

    Raises:
        Corrupt: a line is unreadable; ``details["line"]`` says which.
        Unsupported: another version of the format.

    """
    for line, value in _lines(path):
        if line == 1:
            _arguments(value)
        elif not isinstance(value, dict):
            yield _entry(line, value)


def engine(path: Path) -> Engine:
    """The engine of the file at ``path``, as it began.

    Raises:
        Corrupt: the file has no readable head.
        Unsupported: another version of the format.

    """
    for _, head in _lines(path):
        hints, given = get_type_hints(Engine.__init__), _arguments(head)
        try:
            return Engine(**{name: typed(hints[name], one) for name, one in given.items()})
        except (Misuse, TypeError, LookupError) as error:
            raise Corrupt(f"line 1 makes no engine: {error}", line=1) from error
    raise Corrupt("line 1 is missing", line=1)


def replay(path: Path) -> int:
    """Tell a new engine all that the file at ``path`` holds; how many events agreed.

    Raises:
        Diverged: an event gave other commands than were recorded.
        Corrupt: as ``read`` and ``engine``.
        Unsupported: as ``read``.

    """
    core, agreed = engine(path), 0
    for entry in read(path):
        came = core.handle(entry.event, entry.now)
        if came != entry.commands:
            # Never their repr: Python refuses to print sets of pieces in decimal.
            event = _json(plain(entry.event))
            recorded, now = (_json([plain(one) for one in some]) for some in (entry.commands, came))
            raise Diverged(
                f"line {entry.line} differs\n  event:    {event}\n"
                f"  recorded: {recorded}\n  came:     {now}",
                line=entry.line, event=entry.event, recorded=entry.commands, came=came,
            )  # fmt: skip
        agreed += 1
    return agreed


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return
            try:
                yield line, json.loads(text)
            except (ValueError, RecursionError) as error:
                raise Corrupt(f"line {line} is no JSON: {error}", line=line) from error


def _arguments(head: Any) -> dict[str, Any]:
    given = head.get("engine") if isinstance(head, dict) else None
    if not isinstance(given, dict):
        raise Corrupt("line 1 is no head of a journal", line=1)
    if head.get("journal") != FORMAT:
        raise Unsupported(f"a journal of format {head.get('journal')}; this reads {FORMAT}")
    return given


def _entry(line: int, value: Any) -> Entry:
    try:
        now, event, commands = value
        return Entry(
            line, typed(float, now), typed(Event, event), [typed(Command, one) for one in commands]
        )
    except (Misuse, TypeError, ValueError) as error:
        raise Corrupt(f"line {line} is unreadable: {error}", line=line) from error
