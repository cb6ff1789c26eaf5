"""A receiver under TLS misses nothing that OpenSSL took from the socket and keeps to itself."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from octopull.runtime.bandwidth import Flow
from octopull.security import mutual
from octopull.security.handshaking import handshake
from octopull.security.roles import Role
from octopull.swarm.codec import Decoder, encode
from octopull.swarm.messages import Have, Message, PieceHead
from octopull.transport.buffers import BufferPool
from octopull.transport.line import SecureLine
from octopull.transport.receiving import SCRATCH_BYTES, Receiver
from support.authorities import new
from support.cluster import content

CAPACITY = 262_144
RECORD_BYTES = 16_384
SOON_S = 10.0


@dataclass
class Talker:
    """Encrypts in memory, so that a test decides which bytes leave when."""

    sock: socket.socket
    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    def encrypted(self, *messages: bytes) -> bytes:
        """Each of ``messages`` in records of its own."""
        for message in messages:
            self.tls.write(message)
        return self.outgoing.read()

    async def shake(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(self.sock, self.outgoing.read())
                self.incoming.write(await loop.sock_recv(self.sock, 65536))
            else:
                await loop.sock_sendall(self.sock, self.outgoing.read())
                return


class Hearer:
    """Takes every body."""

    def __init__(self, line: SecureLine, pool: BufferPool) -> None:
        self.haves: list[int] = []
        self.bodies: list[bytes] = []
        self.progress = 0
        self.news = asyncio.Event()
        self.receiver = Receiver(line, Decoder(1 << 16), pool, Flow(), self, pytest.fail)

    def heard(self, message: Message) -> None:
        if isinstance(message, PieceHead):
            self.receiver.take(message.piece, message.length, CAPACITY)
        elif isinstance(message, Have):
            self.haves.append(message.piece)
        self.news.set()

    def progressed(self, count: int) -> None:
        self.progress += count
        self.news.set()

    def arrived(self, piece: int, buffer: bytearray, length: int) -> None:
        del piece
        self.bodies.append(bytes(buffer[:length]))
        self.news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON_S):
            while not holds():
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[tuple[Talker, SecureLine]]:
    contexts = mutual.load(new(tmp_path / "certificates").files(Role.AGENT), Role.AGENT)
    # Of TCP: others wake a reader for less than it wants.
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talker = Talker(ours, contexts.dialing.wrap_bio(incoming, outgoing), incoming, outgoing)
    secure = contexts.greeting.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
    with ExitStack() as stack:
        stack.callback(ours.close)
        stack.callback(secure.close)
        await asyncio.gather(talker.shake(), handshake(secure))
        yield talker, SecureLine(secure)


async def test_half_a_record_that_has_left_the_socket_is_not_waited_for(
    ends: tuple[Talker, SecureLine],
) -> None:
    talker, line = ends
    body = content(60_000, 1)
    hearer = Hearer(line, BufferPool(CAPACITY))
    hearer.receiver.start()
    head = talker.encrypted(encode(PieceHead(0, len(body))))
    ciphertext = talker.encrypted(body)
    # The second record comes in halves, the first of which OpenSSL takes at once.
    cut = RECORD_BYTES * 3 // 2
    talker.sock.sendall(head + ciphertext[:cut])
    await hearer.until(lambda: hearer.progress == RECORD_BYTES)
    await asyncio.get_running_loop().sock_sendall(talker.sock, ciphertext[cut:])
    await hearer.until(lambda: len(hearer.bodies) == 1)
    assert hearer.bodies == [body]
    hearer.receiver.stop()


async def test_what_openssl_holds_when_a_buffer_comes_is_read_though_the_socket_is_empty(
    ends: tuple[Talker, SecureLine],
) -> None:
    talker, line = ends
    pool = BufferPool(CAPACITY)
    lent: list[bytearray] = []
    pool.request(CAPACITY, lent.append)
    hearer = Hearer(line, pool)
    hearer.receiver.start()
    # One short record shifts the others, so that the scratch buffer ends within the last one.
    first, last = encode(Have(1)), encode(Have(2))
    head = encode(PieceHead(0, SCRATCH_BYTES))
    length = SCRATCH_BYTES - len(head) - len(last)
    head, body = encode(PieceHead(0, length)), content(length, 2)
    assert len(head + body + last) == SCRATCH_BYTES
    talker.sock.sendall(talker.encrypted(first, head + body + last))
    await hearer.until(lambda: hearer.receiver.waiting)
    assert line.pending() > 0
    pool.release(lent.pop())
    await hearer.until(lambda: hearer.haves == [1, 2])
    assert hearer.bodies == [body]
    hearer.receiver.stop()
