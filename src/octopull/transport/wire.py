"""One connection after its handshake: both halves of a line, and one end for both."""

import asyncio
from typing import Protocol

from octopull.runtime.bandwidth import Flow
from octopull.swarm.codec import Decoder
from octopull.swarm.messages import Message
from octopull.transport.buffers import BufferPool
from octopull.transport.line import Line
from octopull.transport.receiving import Receiver
from octopull.transport.sending import Sender

LINGER_S = 5.0
"""How long a last message may take to leave before the socket is closed over it."""


class Owner(Protocol):
    """Who hears what a connection has to tell, and says how fast it may go."""

    incoming: Flow
    outgoing: Flow

    def heard(self, wire: "Wire", message: Message) -> None:
        """A frame came; on ``PieceHead``, ``take``, ``skip`` or ``finish`` must be called."""
        ...

    def progressed(self, wire: "Wire", count: int) -> None:
        """``count`` body bytes came."""
        ...

    def arrived(self, wire: "Wire", piece: int, buffer: bytearray, length: int) -> None:
        """A whole body is in ``buffer``, which now belongs to the owner."""
        ...

    def served(self, wire: "Wire", piece: int, length: int) -> None:
        """A whole body was handed to the kernel."""
        ...

    def lost(self, wire: "Wire", reason: str) -> None:
        """The connection broke; nothing more will be told."""
        ...


class Wire:
    """A line, numbered ``conn`` within its swarm.

    After ``finish``, ``close`` or ``lost`` the owner is told nothing any more. It decides
    nothing: what to send and take is the swarm core's affair.
    """

    def __init__(
        self, conn: int, line: Line, decoder: Decoder, pool: BufferPool, owner: Owner
    ) -> None:
        self.conn = conn
        self._line = line
        self._owner = owner
        self._told = True
        self.sender = Sender(line, owner.outgoing, self._served, self._lost)
        self.receiver = Receiver(line, decoder, pool, owner.incoming, self, self._lost)

    def start(self, queued_bytes: int) -> None:
        """Begin to read, and let ``queued_bytes`` at most wait in the kernel to leave."""
        self._line.queue_at_most(queued_bytes)
        self.receiver.start()

    def finish(self, message: Message) -> None:
        """Say ``message`` and close, without waiting for the peer."""
        self._told = False
        self.receiver.stop()
        self.sender.finish(message, self.close)
        asyncio.get_running_loop().call_later(LINGER_S, self.close)

    def close(self) -> None:
        """Close now; may be called twice."""
        self._told = False
        if self._line.fileno() >= 0:
            self.receiver.stop()
            self.sender.stop()
            self._line.close()

    def heard(self, message: Message) -> None:
        """From the receiver."""
        self._owner.heard(self, message)

    def progressed(self, count: int) -> None:
        """From the receiver."""
        self._owner.progressed(self, count)

    def arrived(self, piece: int, buffer: bytearray, length: int) -> None:
        """From the receiver."""
        self._owner.arrived(self, piece, buffer, length)

    def _served(self, piece: int, length: int) -> None:
        if self._told:
            self._owner.served(self, piece, length)

    def _lost(self, reason: str) -> None:
        told, self._told = self._told, False
        self.close()
        if told:
            self._owner.lost(self, reason)
