"""The outgoing half of a connection: frames, and piece bodies from their files."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from octopull.runtime.bandwidth import Flow
from octopull.swarm import codec
from octopull.swarm.messages import Message, PieceHead
from octopull.transport.line import Line

TURN_BYTES_MAX = 2 * 1024 * 1024
"""Bytes moved per wake-up before other connections get their turn; 1 ms at 2 GB/s."""

CONTROL_FRAMES_MAX = 65536
"""Frames queued for a peer that does not read; one more and it is dropped."""


@dataclass(frozen=True, slots=True)
class Body:
    """A piece in an open file: ``fd``, offset and length in bytes."""

    piece: int
    fd: int
    offset: int
    length: int


@dataclass(slots=True)
class _Leaving:
    """A piece to send, and how far it got; ``fd`` is its own and closed with it."""

    piece: int
    fd: int
    offset: int
    left: int
    length: int
    head: bytes
    begun: bool = False


class Sender:
    """Queues of frames and bodies on a line.

    Frames overtake bodies that have not begun, so that requests do not wait behind bulk.
    ``served`` is called with piece and length once a body is in the kernel, ``lost`` with
    the reason when the socket broke.
    """

    def __init__(
        self, line: Line, flow: Flow, served: Callable[[int, int], None],
        lost: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._line = line
        self._flow = flow
        self._pause: asyncio.TimerHandle | None = None
        self._served = served
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._frames: deque[bytes] = deque()
        self._bodies: deque[_Leaving] = deque()
        self._under_way: memoryview | _Leaving | None = None
        self._registered = False
        self._soon: asyncio.Handle | None = None
        self._stopped = False
        self._last: Callable[[], None] | None = None

    def send(self, message: Message) -> None:
        """Queue a frame."""
        if self._last is not None:
            return
        self._frames.append(codec.encode(message))
        if len(self._frames) > CONTROL_FRAMES_MAX:
            self._lost("the peer does not read")
            return
        self._want_to_write()

    def serve(self, body: Body, waiting: int) -> None:
        """Queue ``body`` while ``waiting`` others wait; its file may be closed at once.

        A file number that was closed and given to another file would send that file's bytes, so
        the body has its own.
        """
        if self._last is None:
            try:
                own = os.dup(body.fd)
            except OSError as error:
                self._lost(str(error))
                return
            head = codec.encode(PieceHead(body.piece, body.length, waiting))
            self._bodies.append(
                _Leaving(body.piece, own, body.offset, body.length, body.length, head)
            )
            self._want_to_write()

    def withdraw(self, piece: int) -> bool:
        """Drop a queued piece whose body has not begun; whether there was one."""
        for body in self._bodies:
            if body.piece == piece:
                self._bodies.remove(body)
                os.close(body.fd)
                return True
        return False

    def finish(self, message: Message, then: Callable[[], None]) -> None:
        """Send ``message`` after what is under way, drop the rest, and call ``then``."""
        if self._last is None:
            self._drop_bodies()
            self.send(message)
            self._last = then

    def stop(self) -> None:
        """Send nothing any more."""
        self._stopped = True
        if self._pause is not None:
            self._pause.cancel()
        if self._soon is not None:
            self._soon.cancel()
        self._unregister()
        self._frames.clear()
        self._drop_bodies()
        if isinstance(self._under_way, _Leaving):
            os.close(self._under_way.fd)
        self._under_way = None

    def _drop_bodies(self) -> None:
        for body in self._bodies:
            os.close(body.fd)
        self._bodies.clear()

    def _want_to_write(self) -> None:
        """Write in the loop's next turn, all that is queued by then: the socket mostly has room.

        Asking the selector first would cost two system calls and a wake-up for each frame.
        """
        if self._soon is None and not self._registered and not self._stopped:
            self._soon = self._loop.call_soon(self._flush)

    def _register(self) -> None:
        if not self._registered and not self._stopped:
            self._registered = True
            self._loop.add_writer(self._line.fileno(), self._flush)

    def _unregister(self) -> None:
        if self._registered:
            self._registered = False
            self._loop.remove_writer(self._line.fileno())

    def _flush(self) -> None:
        self._soon = None
        moved = 0
        try:
            while moved < TURN_BYTES_MAX and not self._stopped:
                if self._under_way is None and not self._next():
                    self._idle()
                    return
                if self._flow.limited and self._must_wait():
                    return
                moved += self._push()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._lost(str(error))
            return
        self._register()

    def _must_wait(self) -> bool:
        """Pause before body bytes that the limits hold back; frames are too small to count."""
        body = self._under_way
        if not isinstance(body, _Leaving) or (wait_s := self._flow.wait_s()) == 0:
            return False
        if not body.begun:
            # Frames that come meanwhile overtake it, and it can still be withdrawn.
            self._bodies.appendleft(body)
            self._under_way = None
        self._unregister()
        if self._pause is not None:
            self._pause.cancel()
        self._pause = self._loop.call_later(wait_s, self._go_on)
        return True

    def _go_on(self) -> None:
        self._pause = None
        self._want_to_write()

    def _next(self) -> bool:
        if self._frames:
            self._under_way = memoryview(b"".join(self._frames))
            self._frames.clear()
        elif self._bodies:
            self._under_way = self._bodies.popleft()
        return self._under_way is not None

    def _idle(self) -> None:
        self._unregister()
        if self._last is not None:
            self._last()

    def _push(self) -> int:
        item = self._under_way
        if isinstance(item, _Leaving):
            return self._push_body(item)
        assert item is not None
        done = self._line.send(item)
        self._under_way = item[done:] if done < len(item) else None
        return done

    def _push_body(self, body: _Leaving) -> int:
        body.begun = True
        if body.head:
            done = self._line.send_more(body.head)
            body.head = body.head[done:]
            return done
        count = self._flow.at_once(body.left) if self._flow.limited else body.left
        done = self._line.send_file(body.fd, body.offset, count)
        if done == 0:
            raise OSError("the file ends before the piece does")
        self._flow.spend(done)
        body.offset += done
        body.left -= done
        if body.left == 0:
            self._under_way = None
            os.close(body.fd)
            self._served(body.piece, body.length)
        return done
