"""Transcripts of the core: what it is told, what it orders, readable from top to bottom."""

from typing import Any, Self, TypeVar

from octopull.blob.layout import LEAF_BYTES, Layout
from octopull.kernel import bitfield
from octopull.kernel.peers import Peer
from octopull.swarm.engine import Engine
from octopull.swarm.events import (
    Announce,
    Command,
    Connected,
    Dialed,
    Event,
    Started,
    WakeAt,
)  # fmt: skip
from octopull.swarm.limits import SwarmLimits

ME = "0" * 39 + "5"
C = TypeVar("C", bound=Command)


def peer(name: str) -> Peer:
    """A peer whose id begins with ``name`` in hexadecimal, after ours in order."""
    return Peer(id=name.encode().hex().ljust(40, "0")[:40], host=name, port=1)


class Transcript:
    """One engine, driven event by event; wake-ups are kept apart from the other commands.

    Its pieces are small, so unless said the window counts them and not their bytes.
    """

    def __init__(
        self, pieces: int, have: int = 0, provable: int | None = None, **limits: Any
    ) -> None:
        self.engine = Engine(
            me=ME,
            layout=Layout(pieces * LEAF_BYTES, LEAF_BYTES),
            have=have,
            limits=SwarmLimits(**{"window": 12, **limits}),
            salt=1,
            provable=provable,
        )
        self.pieces = pieces
        self.now = 0.0
        self.wake: float | None = None
        self._ordered: list[Command] = []
        self._conns: dict[str, int] = {}

    def conn(self, name: str) -> int:
        """The connection to ``name``."""
        return self._conns[name]

    def told(self, *events: Event) -> Self:
        """The core hears ``events``, in order."""
        self._ordered = []
        for event in events:
            for command in self.engine.handle(event, self.now):
                if isinstance(command, WakeAt):
                    self.wake = command.when
                else:
                    self._ordered.append(command)
            self.engine.validate()
        return self

    def opened(
        self, name: str, holds: int | None = None, dialed: Dialed = Dialed.BY_US
    ) -> Connected:
        """The event of a connection to ``name``; it holds everything unless said."""
        conn = self._conns[name] = len(self._conns) + 1
        held = bitfield.full(self.pieces) if holds is None else holds
        return Connected(conn, peer(name), dialed, held, self.engine.have)

    def after(self, seconds: float) -> Self:
        """Time passes."""
        self.now += seconds
        return self

    def orders(self, *commands: Command) -> Self:
        """Exactly these commands followed, in any order but for those to one connection."""
        assert sorted(map(repr, self._ordered)) == sorted(map(repr, commands)), self._ordered
        return self

    def ordered(self, kind: type[C]) -> list[C]:
        """The commands of one kind that followed."""
        return [command for command in self._ordered if isinstance(command, kind)]


def begun(pieces: int, **limits: Any) -> Transcript:
    """A leecher that has announced itself."""
    return Transcript(pieces, **limits).told(Started()).orders(Announce())
