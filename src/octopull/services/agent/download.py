"""One blob on its way through the swarm: pieces in any order, readers in their own."""

import asyncio
import functools
import random
from collections.abc import Callable

from octopull.blob.metainfo import Growing, Metainfo
from octopull.blob.start import Described
from octopull.kernel import bitfield
from octopull.kernel.errors import Corrupt, Fault, Unavailable
from octopull.kernel.units import MIB
from octopull.observability import logs
from octopull.runtime.tasks import Tasks
from octopull.storage.partial import Partial
from octopull.swarm.engine import Engine
from octopull.swarm.events import Learnt, Sought
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Goodbye, Reason
from octopull.transport.node import PeerNode
from octopull.transport.swarm import Swarm

log = logs.get("agent")
HASH_BYTES = 4 * MIB
"""How far the digest may fall behind before a thread is asked to catch up: 3 ms of its time."""


class Download:
    """A blob that arrives; readers wait for their next proven byte.

    Pieces are proven one by one, and the blob's digest runs behind the growing prefix.
    The last piece is withheld until the digest of the whole matched, so no reader ever has
    a whole wrong blob. It need not wait for the disk: a cache may be lost.
    """

    def __init__(
        self, node: PeerNode, partial: Partial, described: Described, namespace: str,
        limits: SwarmLimits,
    ) -> None:  # fmt: skip
        self.outline = outline = described.outline
        self.namespace = namespace
        self._partial = partial
        self._news = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self._readers: dict[int, int] = {}
        self._next_reader = 0
        self._whole = False
        self._committed = False
        self._leaving = False
        self.closing = False
        self._closed = asyncio.Event()
        self._thread: asyncio.Future[None] | None = None
        self._failure: Fault | None = None
        make = functools.partial(
            Engine,
            me=node.me.id,
            layout=outline.layout,
            have=partial.have,
            limits=limits,
            salt=random.getrandbits(64),
            zone=node.me.zone,
            provable=None if isinstance(described, Metainfo) else described.known,
        )
        self.swarm = Swarm(
            engine=make(), outline=outline, namespace=namespace, store=partial,
            host=node, changed=self._tell_news,
            journal=node.journals.open(outline.digest, make.keywords),
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Bytes of the whole blob."""
        return self.outline.layout.size

    @property
    def fd(self) -> int:
        """The partial file; the same file after the blob is committed."""
        return self._partial.fd

    def start(self, tasks: Tasks, ended: Callable[["Download"], None]) -> None:
        """Begin; ``ended`` is called once, with the blob in the store or ``failure`` set."""

        async def work() -> None:
            try:
                await self._run()
            except Fault as fault:
                self._failure = fault
                log.warning("download.failed", digest=self.outline.digest.short,
                            reason=str(fault))  # fmt: skip
            except asyncio.CancelledError:
                self._failure = Unavailable("shutting down")
                raise
            except Exception as error:
                # Top of the task: without a failure every reader would wait for ever.
                self._failure = Unavailable("the download failed inside the agent")
                log.exception("download.broke", digest=self.outline.digest.short,
                              reason=repr(error))  # fmt: skip
            finally:
                self._tell_news()
                ended(self)

        tasks.start(work(), f"download {self.outline.digest.short}")

    @property
    def failure(self) -> Fault | None:
        """Why it ended without a blob, if it did."""
        return self._failure

    async def _run(self) -> None:
        self.swarm.start()
        layout, engine = self.outline.layout, self.swarm.engine
        hashed = -1
        while not engine.complete or hashed < layout.size:
            self._news.clear()
            self._raise_failure()
            prefix = layout.prefix_bytes(engine.prefix)
            if prefix > hashed + HASH_BYTES or (engine.complete and prefix > hashed):
                hashed = prefix
                await self._in_thread(self._partial.advance, prefix)
            elif not engine.complete:
                await self._news.wait()
        await self._in_thread(self._partial.prove)
        self._whole = True
        self._tell_news()
        await self._in_thread(self._partial.commit)
        self._committed = True
        log.info("blob.pulled", digest=self.outline.digest.short, bytes=layout.size)

    async def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        """Run ``work`` in a thread that ``close`` waits for, whatever becomes of the caller."""
        if self.closing:
            raise Unavailable("shutting down")
        self._thread = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        await asyncio.shield(self._thread)

    def _raise_failure(self) -> None:
        failure = Unavailable("shutting down") if self.closing else self.swarm.failure
        if failure is not None:
            raise failure if isinstance(failure, Fault) else Unavailable(str(failure))

    def _tell_news(self) -> None:
        self._news.set()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def proven(self, offset: int) -> int:
        """Wait until byte ``offset`` is proven; return the end of the proven run it is in.

        Raises:
            Fault: the download failed.

        """
        layout = self.outline.layout
        piece = layout.piece_at(offset)
        last = layout.count - 1
        reader, self._next_reader = self._next_reader, self._next_reader + 1
        try:
            while True:
                if self._whole:
                    return layout.size
                if self._failure is not None:
                    raise self._failure
                run = bitfield.prefix(self.swarm.engine.have >> piece)
                if run and piece < last:
                    return layout.prefix_bytes(min(piece + run, last))
                await self._seek(reader, piece)
        finally:
            if self._readers.pop(reader, None) is not None:
                self._tell_sought()

    async def _seek(self, reader: int, piece: int) -> None:
        if self._readers.get(reader) != piece:
            self._readers[reader] = piece
            self._tell_sought()
        await self._change()

    async def _change(self) -> None:
        """Until a piece, the state or the end of it changed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _tell_sought(self) -> None:
        self.swarm.tell(Sought(min(self._readers.values(), default=None)))

    async def wait(self) -> None:
        """Until the blob is in the store.

        Raises:
            Fault: it failed.

        """
        while not self._committed:
            if self._failure is not None:
                raise self._failure
            await self._change()

    @property
    def whole(self) -> bool:
        """Whether every byte is proven, be it in the store already or on its way there."""
        return self._whole

    @property
    def committed(self) -> bool:
        """Whether the blob is in the store."""
        return self._committed

    # Hashes that come while the blob's origin is still fetching it.

    @property
    def known(self) -> int:
        """Pieces whose hashes are known, counted from the first."""
        return self._partial.known

    @property
    def over(self) -> bool:
        """Whether no more hashes are of use."""
        return self.closing or self._whole or self._failure is not None

    async def learn(self, told: Growing) -> None:
        """More hashes.

        Raises:
            Corrupt: they are of a blob of another size, or cut in other pieces.

        """
        if told.outline != self.outline:
            raise Corrupt("the blob has changed its size", digest=str(told.digest))
        before, count = self.known, self.outline.layout.count
        self._partial.learn(told.first, told.piece_hashes)
        if self.known > before:
            self.swarm.tell(Learnt(self.known))
        if before < count == self.known:
            await self._in_thread(self._partial.seal)

    def fail(self, fault: Fault) -> None:
        """The blob will not come."""
        self.swarm.failure = fault
        self._tell_news()

    def leave(self) -> None:
        """Seed no longer than now."""
        self._leaving = True
        self._tell_news()

    async def retired(self) -> None:
        """Until the swarm has no more use for us, or we were told to leave."""
        while not self.swarm.retired and not self._leaving:
            await self._change()

    async def close(self, reason: Reason) -> None:
        """Leave the swarm and close the file; partial bytes stay. May be called twice.

        Threads at work on the file end first: a file number that was closed may be another
        file's by then.
        """
        self.closing = True
        self.swarm.close(Goodbye(reason))
        self._tell_news()
        while self.swarm.proving:
            await self._change()
        if self._thread is not None:
            await asyncio.wait([self._thread])
        if not self._closed.is_set():
            self._closed.set()
            self._partial.close()

    async def closed(self) -> None:
        """Until ``close`` is done with the file."""
        await self._closed.wait()
