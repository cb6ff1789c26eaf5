"""One blob at one simulated host: carries out what the core orders, and tells it what happens."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octopull.blob.layout import Layout
from octopull.sim.checks import Story, check
from octopull.swarm.engine import Engine
from octopull.swarm.events import (
    Announce,
    Arrived,
    Close,
    Command,
    Completed,
    Dial,
    Disconnected,
    Event,
    GaveUp,
    Received,
    Refused,
    Retired,
    Send,
    Serve,
    Skip,
    Sought,
    Started,
    Take,
    Ticked,
    Verified,
    WakeAt,
    Withdraw,
)  # fmt: skip
from octopull.swarm.messages import Goodbye, Message, PieceHead, Reject

if TYPE_CHECKING:
    from octopull.sim.host import Host


Proved = Callable[[int, int], None]
"""What becomes of a body once it is hashed: called with its connection and piece."""


@dataclass(slots=True, eq=False)
class End:
    """One end of a connection, and the swarm at the other."""

    other: "SimSwarm"
    theirs: int
    """The number that the connection has over there."""
    latency_s: float
    heard_at: float = 0.0
    """When the last frame so far arrives over there: frames don't overtake each other."""


class SimSwarm:
    """A core, its connections, and the bodies on their way to it.

    ``proven`` is what the world knows of its pieces: those whose bodies came in unharmed.
    """

    def __init__(self, host: "Host", blob: int, layout: Layout, engine: Engine) -> None:
        scenario = host.world.scenario
        self.host = host
        self.blob = blob
        self.layout = layout
        self.engine = engine
        self.proven = engine.have
        self.ends: dict[int, End] = {}
        self.done_at: float | None = None
        self.closed = False
        self.wasted = 0
        self.story: Story | None = None
        if scenario.story_lines:
            self.story = deque(maxlen=scenario.story_lines)
        self._wake = 0
        self._sought = -1
        self._taking: dict[int, bool] = {}
        self._unchecked = scenario.check_every

    def start(self) -> None:
        """The host begins to pull, or to seed."""
        self.tell(Started())
        self._read_on()

    def _read_on(self) -> None:
        """The host's client reads in order, and waits for the first piece that is not there."""
        prefix = self.engine.prefix
        if prefix != self._sought and not self.engine.complete and self.host.reads:
            self._sought = prefix
            self.tell(Sought(prefix))

    def tell(self, event: Event) -> None:
        """Something happened; do what follows."""
        if self.closed:
            return
        now = self.host.world.agenda.now
        if self.story is None:
            commands = self.engine.handle(event, now)
        else:
            commands = self._handle_on_record(event, now)
        for command in commands:
            self._obey(command)
        self._unchecked -= 1
        if self._unchecked <= 0:
            self._unchecked = self.host.world.scenario.check_every
            self.host.world.last_told = self
            check(self)

    def _handle_on_record(self, event: Event, now: float) -> list[Command]:
        assert self.story is not None
        self.host.world.last_told = self
        self.story.append((now, event))
        commands = self.engine.handle(event, now)
        self.story.extend((now, command) for command in commands)
        return commands

    def _obey(self, command: Command) -> None:
        match command:
            case Send(conn, message):
                self._say(conn, message)
            case Serve(conn, piece, rank):
                self.host.serve(self, conn, piece, rank)
            case Take(conn, _):
                self._taking[conn] = True
            case WakeAt(when):
                self._wake += 1
                self.host.world.agenda.at(when, self._tick, self._wake)
            case Withdraw(conn, piece):
                if self.host.withdraw(self, conn, piece):
                    self._say(conn, Reject(piece))
            case Skip(conn, piece):
                self._taking[conn] = False
                self.wasted += self.layout.span(piece)[1]
            case Close(conn, reason):
                self._hang_up(conn, Goodbye(reason))
            case Dial(peer):
                self.host.world.dial(self, peer)
            case Announce():
                self.host.world.announce(self)
            case Completed():
                # Checked once the rest is obeyed, too.
                self._unchecked = 0
                self.done_at = self.host.world.agenda.now
                self.host.world.completed(self)
            case GaveUp():
                self.host.world.gave_up(self)
            case Retired():
                pass

    def _tick(self, number: int) -> None:
        if number == self._wake:
            self.tell(Ticked())

    # Connections.

    def _say(self, conn: int, message: Message) -> None:
        end = self.ends.get(conn)
        assert end is not None, f"says {message} over a connection that is closed"
        host = self.host
        host.said += 1
        when = host.world.agenda.now + end.latency_s
        if host.link.busy:
            when += host.world.scenario.frame_delay_s
        when = end.heard_at = max(when, end.heard_at)
        host.world.agenda.at(when, end.other.hear, end.theirs, message)

    def hear(self, conn: int, message: Message) -> None:
        """A frame came in."""
        if conn in self.ends:
            self.tell(Received(conn, message))

    def _hang_up(self, conn: int, last: Goodbye) -> None:
        self._say(conn, last)
        end = self.ends.pop(conn)
        self._taking.pop(conn, None)
        self.host.drop(self, conn)
        self._let_know(end)

    def _let_know(self, end: End) -> None:
        """The other side learns that the connection is closed, behind what was said before."""
        agenda = self.host.world.agenda
        when = max(agenda.now + end.latency_s, end.heard_at)
        agenda.at(when, end.other.lost, end.theirs)

    def lost(self, conn: int) -> None:
        """The other side closed the connection, or it broke."""
        end = self.ends.pop(conn, None)
        if end is not None:
            self._taking.pop(conn, None)
            self.host.drop(self, conn)
            self.tell(Disconnected(conn))

    def close(self) -> None:
        """The swarm ends without a word; the kernel closes its connections."""
        self.closed = True
        ends, self.ends = self.ends, {}
        for conn, end in ends.items():
            self.host.drop(self, conn)
            self._let_know(end)

    # Bodies.

    def begun(self, conn: int, piece: int, length: int, waiting: int) -> None:
        """The head and the first bytes of a body came in."""
        if conn in self.ends:
            self.tell(Received(conn, PieceHead(piece, length, waiting)))

    def arrived(self, conn: int, piece: int) -> None:
        """The last byte of a body came in."""
        self._prove(conn, piece, self._verified)

    def arrived_spoilt(self, conn: int, piece: int) -> None:
        """The last byte of a body came in, and some byte is wrong."""
        self._prove(conn, piece, self._refused)

    def _prove(self, conn: int, piece: int, proved: Proved) -> None:
        if conn not in self.ends or not self._taking.pop(conn, False):
            return
        length = self.layout.span(piece)[1]
        if self.engine.have >> piece & 1:
            self.wasted += length
        self.tell(Arrived(conn, piece))
        world = self.host.world
        world.agenda.at(
            world.agenda.now + length / world.scenario.prove_bytes_per_s, proved, conn, piece
        )

    def _verified(self, conn: int, piece: int) -> None:
        if not self.closed:
            self.proven |= 1 << piece
            self.host.world.note(self, piece)
            self.tell(Verified(conn, piece))
            self._read_on()

    def _refused(self, conn: int, piece: int) -> None:
        self.wasted += self.layout.span(piece)[1]
        self.tell(Refused(conn, piece))
