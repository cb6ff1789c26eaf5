"""What a connection sends and receives by: a socket in clear, or one under TLS.

Neither blocks. Both say ``BlockingIOError`` where they would, and are asked again then.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from octopull.security.handshaking import readable, writable

SEND_BYTES = 256 * 1024
"""Of a body, encrypted at once: sixteen records of TLS."""

HEAD_BYTES_MAX = 256
"""The head of a body leaves in one record with its first bytes."""

RECORD_BYTES_MAX = 16 * 1024 + 256 + 5
"""What OpenSSL may have taken from the socket and not given us yet: most of one record."""

RECEIVE_BYTES_MAX = 2 * 1024 * 1024
"""Decrypted at once, before others get their turn; about 1 ms."""


class Line(Protocol):
    """A connected socket as its two halves, sender and receiver, see it."""

    @property
    def send(self) -> Callable[[bytes | memoryview], int]:
        """Send some of the bytes now; how many. Asked again, it is given the same first."""
        ...

    @property
    def receive_into(self) -> Callable[[memoryview], int]:
        """Fill a buffer as far as bytes have come; how many, 0 at the end of all.

        Fewer than there is room for: no more are there now, but for those of ``pending``.
        """
        ...

    def send_more(self, data: bytes) -> int:
        """As ``send``, of what bytes of a file follow."""
        ...

    def send_file(self, fd: int, offset: int, count: int) -> int:
        """Send up to ``count`` bytes of ``fd``; how many, 0 if it ends before."""
        ...

    def pending(self) -> int:
        """Bytes that have left the socket, so that it does not tell of them."""
        ...

    def wake_at(self, count: int) -> None:
        """Let the socket tell of bytes only once ``count`` are there, all of which will come."""
        ...

    def queue_at_most(self, count: int) -> None:
        """Let the kernel hold about ``count`` bytes that are not on their way yet, and no more.

        What it takes is gone for us: it can't be overtaken by a frame, nor recalled, and whoever
        shares the link by counting bodies under way counts too few.
        """
        ...

    async def send_all(self, data: bytes) -> None: ...

    async def receive(self, bytes_max: int) -> bytes: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class PlainLine:
    """A socket itself: bodies leave by ``sendfile``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # The socket's own methods: between them and the kernel stands no line of Python.
        self.send = sock.send
        self.receive_into = sock.recv_into
        self.fileno = sock.fileno
        self.close = sock.close

    def send_more(self, data: bytes) -> int:
        return self._sock.send(data, socket.MSG_MORE)

    def send_file(self, fd: int, offset: int, count: int) -> int:
        return os.sendfile(self._sock.fileno(), fd, offset, count)

    def pending(self) -> int:
        return 0

    def wake_at(self, count: int) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def queue_at_most(self, count: int) -> None:
        _queue_at_most(self._sock, count)

    async def send_all(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self, bytes_max: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._sock, bytes_max)


class SecureLine:
    """A socket that OpenSSL encrypts and decrypts for, after its handshake.

    What OpenSSL could not send it wants again, whole and the same: a body's chunk stays in
    ``_chunk`` until it has left.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._head = b""
        self._buffer: memoryview | None = None
        self._chunk: memoryview | None = None
        self._of_file = 0

    def send(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None

    def send_more(self, data: bytes) -> int:
        self._head = data
        return len(data)

    def send_file(self, fd: int, offset: int, count: int) -> int:
        if self._chunk is None and not self._read(fd, offset, count):
            return 0
        assert self._chunk is not None
        self.send(self._chunk)
        self._chunk, self._head = None, b""
        return self._of_file

    def _read(self, fd: int, offset: int, count: int) -> bool:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(HEAD_BYTES_MAX + SEND_BYTES))
        ahead = len(self._head)
        self._buffer[:ahead] = self._head
        room = self._buffer[ahead : ahead + min(count, SEND_BYTES)]
        self._of_file = os.preadv(fd, [room], offset)
        self._chunk = self._buffer[: ahead + self._of_file] if self._of_file else None
        return self._of_file > 0

    def receive_into(self, view: memoryview) -> int:
        got, end = 0, min(len(view), RECEIVE_BYTES_MAX)
        try:
            # Each call gives one record at most.
            while got < end and (count := self._sock.recv_into(view[got:])):
                got += count
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if got == 0:
                raise BlockingIOError from None
        return got

    def pending(self) -> int:
        return self._sock.pending()

    def wake_at(self, count: int) -> None:
        # Some of them may be with OpenSSL already, and never come to the socket again.
        least = max(1, count - RECORD_BYTES_MAX)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)

    def queue_at_most(self, count: int) -> None:
        _queue_at_most(self._sock, count)

    async def send_all(self, data: bytes) -> None:
        while True:
            try:
                self.send(data)
            except BlockingIOError:
                await writable(self._sock)
            else:
                return

    async def receive(self, bytes_max: int) -> bytes:
        buffer = memoryview(bytearray(bytes_max))
        while True:
            try:
                return bytes(buffer[: self._sock.recv_into(buffer)])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                await readable(self._sock)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


def _queue_at_most(sock: socket.socket, count: int) -> None:
    option: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        # A connection that is gone by now says so when it is read.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, count)
