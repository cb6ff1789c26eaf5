"""Links: each host has one up and one down, and bytes take turns on them.

A body crosses in *quanta*. The sender's link carries one quantum at a time and gives the
connections with a body under way one each in turn; the receiver's link takes quanta in the order
in which they come. A connection has at most ``window`` bytes between the two, as TCP has: when
the receiver's link is crowded, its senders' links serve others meanwhile. A quantum is received
while it is sent (cut-through), so an idle path of any length costs its latency and no more.

Control frames are small: they cost latency, and while the sender's link is busy the time of the
bytes that the kernel has queued before them (``frame_delay_s``), but no bandwidth.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from octopull.sim.agenda import Agenda


@dataclass(slots=True, eq=False)
class Body:
    """Bytes of one piece on their way over one connection.

    ``begun`` is called when the first bytes reach the receiver, ``left_us`` when the last have
    left the sender's link, ``arrived`` when the last are received.
    """

    length: int
    receiver: "Link"
    latency_s: float
    begun: Callable[[], None]
    left_us: Callable[[], None]
    arrived: Callable[[], None]
    sent: int = 0
    received: int = 0
    flying: int = 0
    queued: bool = False
    cut: bool = False


class Link:
    """The two directions of one host's link, in payload bytes per second each."""

    __slots__ = (
        "_agenda", "_down_free_at", "_quantum", "_ready", "_sending", "_window", "down", "received",
        "sent", "up",
    )  # fmt: skip

    def __init__(self, agenda: Agenda, up: float, down: float, quantum: int, window: int) -> None:
        self._agenda = agenda
        self.up = up
        self.down = down
        self._quantum = quantum
        self._window = window
        self._ready: deque[Body] = deque()
        self._sending = False
        self._down_free_at = 0.0
        self.sent = 0
        self.received = 0

    @property
    def busy(self) -> bool:
        """Whether the link carries a body out now."""
        return self._sending

    def stall(self, seconds: float) -> None:
        """Take nothing in for ``seconds``: the host reads no bodies."""
        self._down_free_at = max(self._down_free_at, self._agenda.now) + seconds

    def send(self, body: Body) -> None:
        """Put ``body`` among those under way."""
        body.queued = True
        self._ready.append(body)
        if not self._sending:
            self._next()

    def _next(self) -> None:
        """Carry the next quantum, of the connection whose turn it is."""
        ready, agenda = self._ready, self._agenda
        while ready:
            body = ready.popleft()
            if body.cut:
                continue
            count = min(self._quantum, body.length - body.sent)
            end = agenda.now + count / self.up
            offset = body.sent
            body.sent += count
            body.flying += count
            self._sending = True
            agenda.at(end, self._sent, body, count)
            agenda.at(
                agenda.now + body.latency_s, body.receiver.receive, body, count, offset,
                end + body.latency_s, self,
            )  # fmt: skip
            return
        self._sending = False

    def _sent(self, body: Body, count: int) -> None:
        self.sent += count
        body.queued = False
        if not body.cut:
            if body.sent == body.length:
                body.left_us()
            else:
                self._requeue(body)
        self._next()

    def _requeue(self, body: Body) -> None:
        if not body.queued and body.sent < body.length and body.flying < self._window:
            body.queued = True
            self._ready.append(body)

    def receive(
        self, body: Body, count: int, offset: int, end: float, sender: "Link"
    ) -> None:  # fmt: skip
        """The first bytes of a quantum are here; the last come at ``end`` at the earliest."""
        if body.cut:
            return
        begin = max(self._agenda.now, self._down_free_at)
        if offset == 0:
            self._agenda.at(begin, body.begun)
        self._down_free_at = begin + count / self.down
        self._agenda.at(max(self._down_free_at, end), self._received, body, count, sender)

    def _received(self, body: Body, count: int, sender: "Link") -> None:
        self.received += count
        body.received += count
        if body.cut:
            return
        if body.received == body.length:
            body.arrived()
        elif body.sent < body.length:
            self._agenda.at(self._agenda.now + body.latency_s, sender.acknowledged, body, count)

    def acknowledged(self, body: Body, count: int) -> None:
        """The receiver took ``count`` bytes: the window has room again."""
        body.flying -= count
        if not body.cut:
            self._requeue(body)
            if not self._sending:
                self._next()
