"""Lines in clear and under TLS carry the same: frames and bodies, whatever their sizes and times."""

import asyncio
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from octopull.runtime.bandwidth import Bucket, Flow, Rate
from octopull.security import mutual
from octopull.security.handshaking import handshake
from octopull.security.roles import Role
from octopull.swarm.codec import Decoder, encode
from octopull.swarm.messages import Have, Message, PieceHead
from octopull.transport.buffers import BufferPool
from octopull.transport.line import Line, PlainLine, SecureLine
from octopull.transport.receiving import Receiver
from octopull.transport.sending import Body, Sender
from support.authorities import new
from support.cluster import content

CAPACITY = 6_000_000
SIZES = (1, 16_384, 16_385, 262_143, 262_144, 262_145, 300_000, CAPACITY)
SOON_S = 20.0

Pair = tuple[Line, Line]


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    for sock in (ours, theirs):
        sock.setblocking(False)
    return ours, theirs


async def plain(_: Path) -> Pair:
    ours, theirs = connected()
    return PlainLine(ours), PlainLine(theirs)


async def secure(folder: Path) -> Pair:
    files = new(folder / "certificates").files(Role.AGENT)
    contexts = mutual.load(files, Role.AGENT)
    ours, theirs = connected()
    wrapped: list[ssl.SSLSocket] = [
        contexts.dialing.wrap_socket(ours, do_handshake_on_connect=False),
        contexts.greeting.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False),
    ]
    await asyncio.gather(*map(handshake, wrapped))
    return SecureLine(wrapped[0]), SecureLine(wrapped[1])


@pytest.fixture(params=[plain, secure], ids=["plain", "secure"])
async def lines(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    make: Callable[[Path], Awaitable[Pair]] = request.param
    pair = await make(tmp_path)
    async with AsyncExitStack() as stack:
        for line in pair:
            stack.callback(line.close)
        yield pair


class Hearer:
    """Takes every body, gives its buffer back, and keeps what it heard."""

    def __init__(self, line: Line, pool: BufferPool, flow: Flow) -> None:
        self.haves: list[int] = []
        self.bodies: dict[int, bytes] = {}
        self.lost: list[str] = []
        self.news = asyncio.Event()
        self._pool = pool
        self.receiver = Receiver(line, Decoder(1 << 20), pool, flow, self, self._lost)

    def _lost(self, reason: str) -> None:
        self.lost.append(reason)
        self.receiver.stop()
        self.news.set()

    def heard(self, message: Message) -> None:
        if isinstance(message, PieceHead):
            self.receiver.take(message.piece, message.length, CAPACITY)
        elif isinstance(message, Have):
            self.haves.append(message.piece)
        self.news.set()

    def progressed(self, count: int) -> None:
        assert count > 0

    def arrived(self, piece: int, buffer: bytearray, length: int) -> None:
        self.bodies[piece] = bytes(buffer[:length])
        self._pool.release(buffer)
        self.news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON_S):
            while not holds():
                self.news.clear()
                await self.news.wait()


@pytest.mark.parametrize("limited", [False, True], ids=["unlimited", "limited"])
async def test_bodies_and_frames_arrive_as_they_were_sent(
    lines: Pair, tmp_path: Path, limited: bool
) -> None:
    blob = content(sum(SIZES), 5)
    (tmp_path / "blob").write_bytes(blob)
    flow = Flow(Bucket(Rate(40_000_000))) if limited else Flow()
    served: list[int] = []
    sender = Sender(lines[0], flow, lambda piece, _: served.append(piece), pytest.fail)
    # Room for one body: the next one waits in the line.
    hearer = Hearer(
        lines[1], BufferPool(CAPACITY), Flow(Bucket(Rate(60_000_000))) if limited else Flow()
    )
    hearer.receiver.start()
    expected, at = dict[int, bytes](), 0
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    for piece, size in enumerate(SIZES):
        sender.serve(Body(piece, fd, at, size), 0)
        sender.send(Have(piece))
        expected[piece] = blob[at : at + size]
        at += size
    os.close(fd)
    await hearer.until(lambda: len(hearer.bodies) == len(SIZES) and len(hearer.haves) == len(SIZES))
    assert hearer.bodies == expected
    assert sorted(hearer.haves) == served == list(range(len(SIZES)))
    sender.stop()
    hearer.receiver.stop()


async def test_what_is_said_both_ways_at_once_arrives(lines: Pair, tmp_path: Path) -> None:
    chance = random.Random(1)
    sizes = [chance.randrange(1, 700_000) for _ in range(12)]
    blob = content(sum(sizes), 6)
    (tmp_path / "blob").write_bytes(blob)
    ends = [
        (Sender(line, Flow(), lambda _piece, _length: None, pytest.fail),
         Hearer(line, BufferPool(4 * CAPACITY), Flow()))
        for line in lines
    ]  # fmt: skip
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    for sender, hearer in ends:
        hearer.receiver.start()
        at = 0
        for piece, size in enumerate(sizes):
            sender.serve(Body(piece, fd, at, size), 0)
            at += size
    os.close(fd)
    for sender, hearer in ends:
        await hearer.until(lambda heard=hearer: len(heard.bodies) == len(sizes))  # type: ignore[misc]
        assert b"".join(hearer.bodies[piece] for piece in range(len(sizes))) == blob
        sender.stop()
        hearer.receiver.stop()


async def test_the_end_of_the_other_side_is_noticed(lines: Pair) -> None:
    hearer = Hearer(lines[1], BufferPool(CAPACITY), Flow())
    hearer.receiver.start()
    await lines[0].send_all(encode(Have(1)))
    lines[0].close()
    await hearer.until(lambda: bool(hearer.lost))
    assert hearer.haves == [1]
    assert hearer.lost == ["the peer hung up"]


async def test_a_file_that_ends_early_breaks_the_connection(lines: Pair, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x" * 1000)
    lost: list[str] = []
    sender = Sender(lines[0], Flow(), lambda _piece, _length: None, lost.append)
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    sender.serve(Body(0, fd, 0, 5000), 0)
    os.close(fd)
    hearer = Hearer(lines[1], BufferPool(CAPACITY), Flow())
    hearer.receiver.start()
    await hearer.until(lambda: hearer.receiver._body is not None and bool(lost))
    assert lost == ["the file ends before the piece does"]
    sender.stop()
    hearer.receiver.stop()


async def test_messages_of_a_handshake_are_longer_than_a_socket_holds(lines: Pair) -> None:
    said = content(9_000_000, 7)
    heard = bytearray()

    async def listen() -> None:
        while len(heard) < len(said):
            heard.extend(await lines[1].receive(65536))

    async with asyncio.timeout(SOON_S):
        await asyncio.gather(lines[0].send_all(said), listen())
    assert heard == said
