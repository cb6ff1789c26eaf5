"""The incoming half of a connection: frames, and piece bodies into their buffers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from octopull.kernel.errors import PeerFault
from octopull.runtime.bandwidth import Flow
from octopull.swarm.codec import Decoder
from octopull.swarm.messages import Message, PieceHead
from octopull.transport.buffers import BufferPool
from octopull.transport.line import Line

SCRATCH_BYTES = 64 * 1024
WAKE_BYTES = 256 * 1024
"""Bytes of a body that must be there before we are woken for them, or what is left of it: a wake-up
costs as much as reading 100 KB, and links bring less at a time."""

TURN_BYTES_MAX = 2 * 1024 * 1024
"""Bytes moved per wake-up before other connections get their turn; 1 ms at 2 GB/s."""


class Hearer(Protocol):
    """Who hears what comes in."""

    def heard(self, message: Message) -> None:
        """A frame came; on ``PieceHead``, ``take``, ``skip`` or ``stop`` must be called."""
        ...

    def progressed(self, count: int) -> None:
        """``count`` body bytes came."""
        ...

    def arrived(self, piece: int, buffer: bytearray, length: int) -> None:
        """A whole body is in ``buffer``, which now belongs to the hearer."""
        ...


@dataclass(slots=True)
class _Body:
    """A piece on its way in; ``buffer`` is None while we wait for one, or throw it away."""

    piece: int
    length: int
    wanted: bool
    buffer: bytearray | None = None
    filled: int = 0

    @property
    def waiting(self) -> bool:
        return self.wanted and self.buffer is None


class Receiver:
    """Reads a line into frames and bodies.

    While a body waits for a buffer nothing is read: TCP then slows the peer down.
    """

    def __init__(
        self, line: Line, decoder: Decoder, pool: BufferPool, flow: Flow,
        hearer: Hearer, lost: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._line = line
        self._decoder = decoder
        self._pool = pool
        self._flow = flow
        self._pause: asyncio.TimerHandle | None = None
        self._hearer = hearer
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._body: _Body | None = None
        self._spill = b""
        self._stopped = False

    def start(self) -> None:
        """Begin to read, the bytes first that came with the handshake."""
        self._watch()
        self._loop.call_soon(self._guard, self._resume)

    def stop(self) -> None:
        """Read nothing any more; the buffer under way goes back."""
        if self._stopped:
            return
        self._stopped = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._line.fileno())
        self._pool.forget(self._granted)
        if self._body is not None and self._body.buffer is not None:
            self._pool.release(self._body.buffer)
        self._body = None

    @property
    def waiting(self) -> bool:
        """Whether a body waits for a buffer or a limit of ours, so that the peer is not to blame."""
        return self._pause is not None or (self._body is not None and self._body.waiting)

    def take(self, piece: int, length: int, capacity: int) -> None:
        """Receive the announced body into a buffer of ``capacity`` bytes."""
        self._body = _Body(piece, length, wanted=True)
        self._pool.request(capacity, self._granted)
        if self._body is not None and self._body.waiting:
            self._loop.remove_reader(self._line.fileno())

    def skip(self, piece: int, length: int) -> None:
        """Receive the announced body and throw it away."""
        self._body = _Body(piece, length, wanted=False)

    def _granted(self, buffer: bytearray) -> None:
        assert self._body is not None
        self._body.buffer = buffer
        self._wake_for(self._body)
        if self._pause is None:
            self._watch()
        # Bytes that came behind the head are here already; no wake-up will tell of them.
        self._loop.call_soon(self._guard, self._resume)

    def _wake_for(self, body: _Body) -> None:
        """Until the body is whole, sleep through anything less than a good part of it."""
        count = max(1, min(WAKE_BYTES, body.length - body.filled))
        self._line.wake_at(count)

    def _watch(self) -> None:
        self._loop.add_reader(self._line.fileno(), self._readable)
        if self._line.pending():
            self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        self._guard(self._read_a_turn)
        if not self._stopped and not self.waiting and self._line.pending():
            # No wake-up will tell of them.
            self._loop.call_soon(self._readable)

    def _guard(self, work: Callable[[], None]) -> None:
        if self._stopped:
            return
        try:
            work()
        except (BlockingIOError, InterruptedError):
            return
        except (PeerFault, OSError) as error:
            self._lost(str(error))

    def _read_a_turn(self) -> None:
        got = 0
        while got < TURN_BYTES_MAX and not self._stopped:
            if self._spill or self.waiting or (self._flow.limited and self._must_wait()):
                return
            count, room = self._receive()
            if count == 0:
                self._lost("the peer hung up")
            if count < room:
                # The socket is empty; asking it again would only tell so.
                return
            got += count

    def _must_wait(self) -> bool:
        """Read nothing for as long as the limits say; TCP then slows the peer down."""
        wait_s = self._flow.wait_s()
        if wait_s > 0:
            self._loop.remove_reader(self._line.fileno())
            self._pause = self._loop.call_later(wait_s, self._go_on)
        return wait_s > 0

    def _go_on(self) -> None:
        self._pause = None
        if not self._stopped and not self.waiting:
            self._watch()

    def _resume(self) -> None:
        spill, self._spill = self._spill, b""
        self._consume(memoryview(spill))

    def _receive(self) -> tuple[int, int]:
        """Read once: the bytes that came, and those that there was room for."""
        body = self._body
        if body is None or body.buffer is None:
            count = self._line.receive_into(self._scratch)
            self._consume(self._scratch[:count])
            return count, SCRATCH_BYTES
        end = body.length
        if self._flow.limited:
            end = body.filled + self._flow.at_once(body.length - body.filled)
        room = end - body.filled
        count = self._line.receive_into(memoryview(body.buffer)[body.filled : end])
        self._filled(body, count)
        return count, room

    def _consume(self, data: memoryview) -> None:
        """Take ``data`` apart into frames and bodies, as far as there are buffers for them."""
        while not self._stopped:
            if self._body is None:
                if not self._frames(bytes(data)):
                    return
                data = memoryview(self._decoder.drain())
                continue
            body = self._body
            if body.waiting:
                self._spill = bytes(data)
                return
            part = data[: body.length - body.filled]
            if body.buffer is not None:
                body.buffer[body.filled : body.filled + len(part)] = part
            data = data[len(part) :]
            self._filled(body, len(part))
            if self._body is not None:
                return

    def _frames(self, data: bytes) -> bool:
        """Tell every frame up to the next piece head; whether there was one."""
        for message in self._decoder.feed(data):
            self._hearer.heard(message)
            if self._stopped:
                return False
            if isinstance(message, PieceHead):
                return True
        return False

    def _filled(self, body: _Body, count: int) -> None:
        body.filled += count
        self._flow.spend(count)
        if count:
            self._hearer.progressed(count)
        if self._stopped:
            return
        if body.filled < body.length:
            if body.length - body.filled < WAKE_BYTES:
                self._wake_for(body)
        else:
            self._line.wake_at(1)
            self._body = None
            if body.buffer is not None:
                self._hearer.arrived(body.piece, body.buffer, body.length)
