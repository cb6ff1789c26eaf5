"""The bodies that leave this host, over all its swarms, in the order that ``Uplink`` decides."""

import asyncio
from collections.abc import Callable

from octopull.swarm.uplink import Key, Uplink
from octopull.transport.sending import Body, Sender


class Outgoing:
    """Hands bodies to the senders of their connections, a few at a time.

    Swarms are numbered by ``join``; a connection's key is its swarm's number and its own.
    """

    def __init__(self, slots: int) -> None:
        self._uplink = Uplink(slots, self._held)
        self._bodies: dict[tuple[Key, int], tuple[Sender, Body]] = {}
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._swarms = 0
        self._held_by: dict[int, Callable[[int], int]] = {}

    def join(self, held_by: Callable[[int], int]) -> int:
        """A number for one more swarm; ``held_by`` is how many pieces a connection's peer holds."""
        self._swarms += 1
        self._held_by[self._swarms] = held_by
        return self._swarms

    def leave(self, swarm: int) -> None:
        """A swarm whose connections were all dropped is no more."""
        del self._held_by[swarm]

    def _held(self, key: Key) -> int:
        return self._held_by[key[0]](key[1])

    def order(self, key: Key, sender: Sender, body: Body, rank: int) -> None:
        """Send ``body`` when its turn comes."""
        self._bodies[key, body.piece] = (sender, body)
        self._uplink.order(key, body.piece, body.length, rank)
        self._begin()

    def withdraw(self, key: Key, sender: Sender, piece: int) -> bool:
        """Take back a body that has not begun; whether there was one."""
        if self._uplink.withdraw(key, piece):
            del self._bodies[key, piece]
            return True
        if sender.withdraw(piece):
            self._uplink.stopped(key, self._loop.time())
            self._begin()
            return True
        return False

    def left(self, key: Key) -> None:
        """The body under way over ``key`` was handed to the kernel."""
        self._uplink.left(key, self._loop.time())
        self._begin()

    def drop(self, key: Key) -> None:
        """The connection is gone."""
        self._uplink.drop(key, self._loop.time())
        for entry in [entry for entry in self._bodies if entry[0] == key]:
            del self._bodies[entry]
        self._begin()

    def _begin(self) -> None:
        now = self._loop.time()
        for key, piece in self._uplink.begin(now):
            sender, body = self._bodies.pop((key, piece))
            sender.serve(body, self._uplink.waiting)
        when = self._uplink.next_turn(now)
        if when is not None and self._alarm is None:
            self._alarm = self._loop.call_at(when, self._turn_over)

    def _turn_over(self) -> None:
        self._alarm = None
        self._begin()
