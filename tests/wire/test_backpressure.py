"""A receiver without a free buffer reads nothing, and goes on when there is one."""

import asyncio
import socket

from octopull.runtime.bandwidth import Flow
from octopull.swarm.codec import Decoder, encode
from octopull.swarm.messages import Have, Message, PieceHead
from octopull.transport.buffers import BufferPool
from octopull.transport.line import PlainLine
from octopull.transport.receiving import Receiver

LENGTH = 300_000


class Hearer:
    """Takes every body, and keeps what it heard."""

    def __init__(self) -> None:
        self.heads: list[int] = []
        self.haves: list[int] = []
        self.bodies: list[tuple[int, bytes, bytearray]] = []
        self.news = asyncio.Event()
        self.receiver: Receiver

    def heard(self, message: Message) -> None:
        if isinstance(message, PieceHead):
            self.heads.append(message.piece)
            self.receiver.take(message.piece, message.length, LENGTH)
        elif isinstance(message, Have):
            self.haves.append(message.piece)
        self.news.set()

    def progressed(self, count: int) -> None:
        assert count > 0

    def arrived(self, piece: int, buffer: bytearray, length: int) -> None:
        self.bodies.append((piece, bytes(buffer[:length]), buffer))
        self.news.set()


async def test_bodies_wait_for_buffers_and_no_byte_is_lost() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    pool, hearer = BufferPool(LENGTH), Hearer()
    hearer.receiver = Receiver(
        PlainLine(ours), Decoder(1 << 16), pool, Flow(), hearer, lambda _reason: None
    )
    hearer.receiver.start()
    stream = b"".join(
        encode(PieceHead(piece, LENGTH)) + bytes([piece]) * LENGTH + encode(Have(piece))
        for piece in range(3)
    )
    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(theirs, stream))
    for piece in range(3):
        while len(hearer.bodies) <= piece or len(hearer.heads) < min(piece + 2, 3):
            hearer.news.clear()
            await asyncio.wait_for(hearer.news.wait(), 10)
        # The one buffer is ours: the next body's head was heard, and nothing behind it.
        assert hearer.receiver.waiting == (piece < 2)
        assert len(hearer.bodies) == piece + 1
        assert pool.bytes == LENGTH
        pool.release(hearer.bodies[piece][2])
    while len(hearer.haves) < 3:
        hearer.news.clear()
        await asyncio.wait_for(hearer.news.wait(), 10)
    await sending
    assert [(piece, body) for piece, body, _ in hearer.bodies] == [
        (piece, bytes([piece]) * LENGTH) for piece in range(3)
    ]
    hearer.receiver.stop()
    ours.close()
    theirs.close()
