"""TLS on the socket itself, without asyncio's copies.

asyncio keeps TLS in memory buffers: each byte is copied between them, in Python, before it
reaches the socket. Here OpenSSL reads and writes the socket, as it does in nginx, and a
blob's file goes through one reused buffer.
"""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable

from octopull.observability import logs
from octopull.observability.rarely import Rarely
from octopull.runtime.sockets import Door
from octopull.runtime.tasks import Tasks
from octopull.security.handshaking import handshake
from octopull.security.identity import proven_by
from octopull.security.words import explain

log = logs.get("http")
HANDSHAKE_S = 10.0
HANDSHAKES_MAX = 512
"""Strangers at the door at once; of more, those of whoever has most of them go."""

READ_BYTES = 256 * 1024
SEND_BYTES = 256 * 1024
TURN_BYTES_MAX = 2 * 1024 * 1024
"""Bytes moved per wake-up before other connections get their turn; about 1 ms."""

REFUSED_EVERY_S = 60.0
"""A service that retries is told of once in this time."""

WRITE_BUFFER_BYTES_MAX = 64 * 1024
LINGER_S = 5.0
"""How long what is written may take to leave after ``close``."""

Protocols = Callable[[], asyncio.Protocol]


class TlsTransport(asyncio.Transport):
    """One connection after its handshake, as an asyncio transport.

    Invariant: the socket is watched for writing exactly while something waits to be written.
    """

    def __init__(self, sock: ssl.SSLSocket, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({
            "socket": sock, "sslcontext": sock.context, "ssl_object": sock,
            "peername": sock.getpeername(), "sockname": sock.getsockname(),
            "peercert": sock.getpeercert(), "cipher": sock.cipher(), "proven_by": proven_by(sock),
        })  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._protocol = protocol
        self._waiting: deque[bytes | memoryview] = deque()
        self._bytes = 0
        self._high, self._low = WRITE_BUFFER_BYTES_MAX, WRITE_BUFFER_BYTES_MAX // 4
        self._protocol_paused = False
        self._reading = False
        self._closing = False
        self._closed = False
        self._sending: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Tell the protocol, and begin to read."""
        self._protocol.connection_made(self)
        self.resume_reading()

    # Reading.

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)
            # What lies in OpenSSL already, such as what came with the end of the handshake,
            # makes no wake-up.
            self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        moved = 0
        while self._reading and moved < TURN_BYTES_MAX:
            try:
                data = self._sock.recv(READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._lose(error)
                return
            if not data:
                self._lose(None)
                return
            moved += len(data)
            assert isinstance(self._protocol, asyncio.Protocol)
            self._protocol.data_received(data)
        if self._reading and self._sock.pending():
            self._loop.call_soon(self._readable)

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        # OpenSSL wants a piece that it could not send yet again, whole: so it is kept as it is.
        self._waiting.append(bytes(data))
        self._bytes += len(data)
        if len(self._waiting) == 1:
            self._flush()
        if self._bytes > self._high and not self._protocol_paused and not self._closed:
            self._protocol_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self._bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = WRITE_BUFFER_BYTES_MAX if high is None else high
        self._low = self._high // 4 if low is None else low

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send ``count`` bytes of ``fd`` from ``offset`` on, behind what was written before.

        Raises:
            ConnectionResetError: the connection or the file ended early.

        """
        end, buffer = offset + count, memoryview(bytearray(min(SEND_BYTES, count)))
        while offset < end:
            got = os.preadv(fd, [buffer[: end - offset]], offset)
            if got == 0:
                raise ConnectionResetError("the file ends early")
            await self._send(buffer[:got])
            offset += got

    async def _send(self, data: memoryview) -> None:
        """Send from a buffer that the caller uses again."""
        if self._closing:
            raise ConnectionResetError("the client went away")
        self._waiting.append(data)
        self._bytes += len(data)
        if len(self._waiting) == 1:
            self._flush()
        if self._waiting:
            self._sending = self._loop.create_future()
            await self._sending
        elif self._closed:
            raise ConnectionResetError("the client went away")
        else:
            # Others must have their turn though the client takes all we have.
            await asyncio.sleep(0)

    def _flush(self) -> None:
        try:
            while self._waiting:
                self._sock.send(self._waiting[0])
                self._bytes -= len(self._waiting.popleft())
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._loop.add_writer(self._fd, self._flush)
        except OSError as error:
            self._lose(error)
            return
        else:
            self._loop.remove_writer(self._fd)
            self._wake_sender()
            if self._closing:
                self._end(None)
        if self._protocol_paused and self._bytes <= self._low:
            self._protocol_paused = False
            self._protocol.resume_writing()

    def _wake_sender(self) -> None:
        if self._sending is not None and not self._sending.done():
            self._sending.set_result(None)

    # The end.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self.pause_reading()
        if self._waiting:
            self._loop.call_later(LINGER_S, self.abort)
        else:
            self._end(None)

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: OSError | None) -> None:
        self._closing = True
        self.pause_reading()
        self._waiting.clear()
        self._bytes = 0
        self._end(error)

    def _end(self, error: OSError | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_writer(self._fd)
        if self._sending is not None and not self._sending.done():
            self._sending.set_exception(ConnectionResetError("the client went away"))
        try:
            if error is None:
                self._sock.unwrap()
        except (OSError, ValueError):
            pass  # The peer need not wait for our close_notify, nor we for its.
        self._loop.call_soon(self._finish, error)

    def _finish(self, error: OSError | None) -> None:
        self._sock.close()
        self._protocol.connection_lost(error)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


class TlsServer:
    """Accepts connections, greets them by the ``context`` of then, and hands them to ``protocols``."""

    def __init__(
        self, sock: socket.socket, context: Callable[[], ssl.SSLContext], protocols: Protocols
    ) -> None:
        self._socket = sock
        self._context = context
        self._protocols = protocols
        self._tasks = Tasks()
        self._rarely = Rarely(REFUSED_EVERY_S)
        Door(sock, self._tasks, self._greet, HANDSHAKES_MAX)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    async def close(self) -> None:
        """Accept no more; connections that are open go on."""
        await self._tasks.__aexit__(None, None, None)
        self._socket.close()

    async def _greet(self, sock: socket.socket) -> None:
        # Wrapping moves the file number: from then on the socket in hand is the secure one.
        held = sock
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            held = secure = self._context().wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
            async with asyncio.timeout(HANDSHAKE_S):
                await handshake(secure)
            TlsTransport(secure, self._protocols()).start()
        except BaseException as error:
            self._refused(held, error)
            held.close()
            if not isinstance(error, OSError | TimeoutError):
                raise

    def _refused(self, sock: socket.socket, error: BaseException) -> None:
        """Tell the operator what a certificate lacks; anything else is a stranger's own affair."""
        told = explain(error)
        if told is None:
            log.debug("tls.failed", reason=str(error) or repr(error))
            return
        try:
            caller = str(sock.getpeername()[0])
        except OSError:
            caller = ""
        if self._rarely.due(f"{caller} {told}", asyncio.get_running_loop().time()):
            log.warning("tls.refused", caller=caller, reason=told)
