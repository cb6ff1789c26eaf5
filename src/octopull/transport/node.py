"""One process among its peers: the peer port, dialling, handshakes, and all its swarms."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from octopull.config.services import PeerSettings
from octopull.kernel.errors import Fault, PeerFault, Unavailable
from octopull.kernel.peers import Peer, PeerKind
from octopull.observability import logs
from octopull.runtime.bandwidth import Bandwidth
from octopull.runtime.files import files_max
from octopull.runtime.sockets import Door, listening
from octopull.runtime.tasks import Tasks
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading
from octopull.swarm import codec, handshake
from octopull.swarm.codec import Decoder
from octopull.swarm.events import Dialed, DialFailed
from octopull.swarm.limits import FRAME_BYTES_MAX, Announces, Seeding, SwarmLimits
from octopull.swarm.messages import Goodbye, Handshake, Reason
from octopull.transport.announcing import Announcing, Introduce
from octopull.transport.buffers import BufferPool
from octopull.transport.journals import Journals
from octopull.transport.line import Line
from octopull.transport.lines import Lines
from octopull.transport.outgoing import Outgoing
from octopull.transport.places import Places
from octopull.transport.proving import Prover
from octopull.transport.swarm import Swarm
from octopull.transport.traffic import Traffic
from octopull.transport.wire import Wire

log = logs.get("transport")
HANDSHAKE_S = 5.0
TRIM_EVERY_S = 5.0
HANDSHAKES_MAX = 256
"""Strangers at the door at once; of more, those of whoever has most of them go."""

READ_BYTES = 64 * 1024

Find = Callable[[Handshake], Awaitable[Swarm | None]]


def limits_of(
    settings: PeerSettings, announces: Announces = Announces.YES, seeding: Seeding = Seeding.OPEN
) -> SwarmLimits:
    """What the core must know of the settings."""
    return SwarmLimits(
        seeding=seeding,
        dials_max=settings.dials_max,
        accepted_max=min(settings.dials_max * 3 // 2, settings.connections_max - 2),
        connections_max=settings.connections_max,
        announces=announces,
    )


class PeerNode:
    """Owns every peer connection of a process; open it with ``async with``.

    ``find`` says which swarm a stranger's handshake is for, opening a seed if need be;
    ``introduce`` asks a tracker for peers of several swarms at once. With ``tls`` it speaks with
    agents and origins of the cluster alone.
    """

    def __init__(
        self, settings: PeerSettings, peer_id: str, kind: PeerKind, find: Find,
        introduce: Introduce | None, tls: Reloading[Mutual] | None = None,
    ) -> None:  # fmt: skip
        self.traffic = Traffic()
        self.bandwidth = Bandwidth(settings.bandwidth)
        self.outgoing = Outgoing(settings.uploads_max)
        self.places = Places(settings.limits.within(files_max()), kind.value)
        self.journals = Journals(settings.journal)
        self._settings = settings
        self._peer_id = peer_id
        self._kind = kind
        self._find = find
        self._lines = Lines(tls)
        self._pool = BufferPool(settings.buffer_bytes_max)
        self._prover: Prover | None = None
        self._tasks = Tasks()
        self._announcing = Announcing(self._tasks, introduce) if introduce is not None else None
        self._socket: socket.socket | None = None
        self._me: Peer | None = None

    @property
    def me(self) -> Peer:
        """The process as others see it; known once the node is open."""
        assert self._me is not None
        return self._me

    async def __aenter__(self) -> Self:
        listen = self._settings.listen
        self._socket = listening(listen.host, listen.port)
        self._me = Peer(
            id=self._peer_id,
            host=self._settings.advertise or listen.host,
            port=self._socket.getsockname()[1],
            kind=self._kind,
            zone=self._settings.zone,
        )
        self._prover = Prover(self._settings.receive_threads)
        await self._tasks.__aenter__()
        Door(self._socket, self._tasks, self._greeted, HANDSHAKES_MAX)
        self._tasks.start(self._trim(), "trim buffers")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self._tasks.__aexit__(kind, error, trace)
        self._lines.close()
        if self._socket is not None:
            self._socket.close()
        if self._prover is not None:
            await self._prover.close()

    # What swarms ask of their host.

    def dial(self, swarm: Swarm, peer: Peer) -> None:
        """Connect and greet; ends in ``swarm.welcome`` or ``DialFailed``."""
        self._tasks.start(self._dial(swarm, peer), f"dial {peer}")

    def announce(self, swarm: Swarm) -> None:
        """Tell a tracker of ``swarm``, together with whatever else is due."""
        if self._announcing is not None:
            self._announcing.want(swarm)

    def prove(
        self, work: Callable[[], bool], buffer: bytearray, done: Callable[[bool | Fault], None]
    ) -> None:
        """Run ``work`` in a thread, give ``buffer`` back, then call ``done`` on the loop."""
        assert self._prover is not None

        def ended(outcome: bool | Fault) -> None:  # noqa: FBT001 - the work's own result
            self._pool.release(buffer)
            done(outcome)

        self._prover.submit(work, ended)

    async def _trim(self) -> None:
        """Buffers serve the next piece at once; a host that pulls nothing needs none."""
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            self._pool.trim()

    # Handshakes.

    async def _greeted(self, sock: socket.socket) -> None:
        """A stranger dialled us."""
        line: Line | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                line = await self._lines.answered(sock)
                await self._answer(line)
        except (OSError, TimeoutError, ValueError, Fault) as error:
            log.debug("peer.refused", reason=str(error) or repr(error))
            (line or sock).close()
        except asyncio.CancelledError:
            (line or sock).close()
            raise

    async def _answer(self, line: Line) -> None:
        decoder = Decoder(FRAME_BYTES_MAX)
        theirs = await _read_handshake(line, decoder)
        try:
            with self.places.coming(Dialed.BY_THEM):
                await self._let_in(line, decoder, theirs)
        except Unavailable as fault:
            if "limit" in fault.details:
                await line.send_all(codec.encode(Goodbye(Reason.FULL)))
            raise

    async def _let_in(self, line: Line, decoder: Decoder, theirs: Handshake) -> None:
        swarm = await self._find(theirs)
        if swarm is None or swarm.closed:
            await line.send_all(codec.encode(Goodbye(Reason.UNKNOWN_BLOB)))
            raise PeerFault("asks for a blob we don't have", digest=str(theirs.digest))
        holds = handshake.check(theirs, swarm.outline)
        told = swarm.engine.greeting
        await line.send_all(codec.encode(self._greeting(swarm, told)))
        wire = Wire(swarm.number(), line, decoder, self._pool, swarm)
        swarm.welcome(wire, theirs.peer, Dialed.BY_THEM, holds, told)

    async def _dial(self, swarm: Swarm, peer: Peer) -> None:
        line: Line | None = None
        try:
            with self.places.coming(Dialed.BY_US):
                async with asyncio.timeout(HANDSHAKE_S):
                    line = await self._lines.dialed(peer.host, peer.port)
                    await self._greet(swarm, peer, line)
        except (OSError, TimeoutError, ValueError, Fault) as error:
            # ValueError: a host name that no resolver takes (UnicodeError of the IDNA codec).
            log.debug("peer.dial_failed", peer=str(peer), reason=str(error) or repr(error))
            if line is not None:
                line.close()
            swarm.tell(DialFailed(peer.id))
        except asyncio.CancelledError:
            if line is not None:
                line.close()
            raise

    async def _greet(self, swarm: Swarm, peer: Peer, line: Line) -> None:
        told = swarm.engine.greeting
        await line.send_all(codec.encode(self._greeting(swarm, told)))
        decoder = Decoder(FRAME_BYTES_MAX)
        theirs = await _read_handshake(line, decoder)
        if theirs.peer.id != peer.id:
            raise PeerFault("another peer answers there", peer=str(peer))
        holds = handshake.check(theirs, swarm.outline)
        wire = Wire(swarm.number(), line, decoder, self._pool, swarm)
        swarm.welcome(wire, theirs.peer, Dialed.BY_US, holds, told)

    def _greeting(self, swarm: Swarm, told: int) -> Handshake:
        return handshake.greet(swarm.outline, swarm.namespace, self.me, told)


async def _read_handshake(line: Line, decoder: Decoder) -> Handshake:
    """The first message; what comes behind it stays in ``decoder``.

    Raises:
        PeerFault: anything else, or the end.

    """
    while True:
        data = await line.receive(READ_BYTES)
        if not data:
            raise PeerFault("hung up during the handshake")
        for message in decoder.feed(data):
            if isinstance(message, Handshake):
                return message
            raise PeerFault("no handshake", got=type(message).__name__)
