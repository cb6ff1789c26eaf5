"""Swarms of blobs that are whole: opened when asked for, closed when idle."""

import asyncio
import functools
import random
from dataclasses import dataclass

from octopull.kernel import bitfield
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.observability import logs
from octopull.storage.disk import BlobFile, DiskStore
from octopull.swarm.engine import Engine
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Goodbye, Handshake, Reason
from octopull.transport.node import PeerNode
from octopull.transport.swarm import Swarm

log = logs.get("transport")


@dataclass(frozen=True, slots=True)
class _Whole:
    """A blob's file as a swarm's piece store."""

    blob: BlobFile

    @property
    def fd(self) -> int:
        return self.blob.fd

    def write(self, piece: int, content: memoryview) -> bool:
        raise Misuse("a whole blob takes no pieces", piece=piece, bytes=len(content))


class Seeds:
    """The blobs of one store that this process serves to peers.

    An open seed pins its blob in the store. Calls come from the loop's thread.
    """

    def __init__(self, store: DiskStore, limits: SwarmLimits) -> None:
        self._store = store
        self._limits = limits
        self._swarms: dict[Digest, tuple[Swarm, BlobFile]] = {}
        self._opening: dict[Digest, asyncio.Task[Swarm]] = {}
        self._over = False

    def swarms(self) -> list[Swarm]:
        """All that are open."""
        return [swarm for swarm, _ in self._swarms.values()]

    async def answer(self, node: PeerNode, theirs: Handshake) -> Swarm | None:
        """The swarm a stranger's handshake is for, if its blob is in the store."""
        try:
            swarm = await self.open(node, theirs.digest, theirs.namespace)
        except NotFound:
            return None
        return swarm if swarm.metainfo.info_hash == theirs.info_hash.hex() else None

    async def open(self, node: PeerNode, digest: Digest, namespace: str) -> Swarm:
        """Seed ``digest``.

        Raises:
            NotFound: the store lacks it.

        """
        if digest in self._swarms:
            return self._swarms[digest][0]
        opening = self._opening.get(digest)
        if opening is None:
            # Shared: a stranger whose handshake times out must not leave half a seed behind.
            opening = asyncio.get_running_loop().create_task(self._open(node, digest, namespace))
            self._opening[digest] = opening
            opening.add_done_callback(lambda task: self._opened(digest, task))
        return await asyncio.shield(opening)

    def _opened(self, digest: Digest, task: asyncio.Task[Swarm]) -> None:
        self._opening.pop(digest, None)
        if not task.cancelled():
            task.exception()  # Told to whoever waited, if anyone still did.

    async def _open(self, node: PeerNode, digest: Digest, namespace: str) -> Swarm:
        swarm, blob = await self._start(node, digest, namespace)
        self._swarms[digest] = (swarm, blob)
        if self._over:
            self.close(digest, Reason.SHUTDOWN)
        return swarm

    async def _start(
        self, node: PeerNode, digest: Digest, namespace: str
    ) -> tuple[Swarm, BlobFile]:
        metainfo = await asyncio.to_thread(self._store.metainfo, digest)
        blob = await asyncio.to_thread(self._store.open, digest)
        make = functools.partial(
            Engine,
            me=node.me.id,
            layout=metainfo.layout,
            have=bitfield.full(metainfo.layout.count),
            limits=self._limits,
            salt=random.getrandbits(64),
            zone=node.me.zone,
        )

        def changed() -> None:
            if swarm.retired:
                self.close(digest, Reason.DONE)

        swarm = Swarm(
            engine=make(), metainfo=metainfo, namespace=namespace, store=_Whole(blob),
            host=node, changed=changed, journal=node.journals.open(digest, make.keywords),
        )  # fmt: skip
        swarm.start()
        log.debug("seed.opened", digest=digest.short)
        return swarm, blob

    def close(self, digest: Digest, reason: Reason) -> None:
        """Stop seeding ``digest``; it stays in the store. Unknown ones are ignored."""
        entry = self._swarms.pop(digest, None)
        if entry is not None:
            entry[0].close(Goodbye(reason))
            entry[1].close()

    def close_all(self) -> None:
        """Stop seeding, for good."""
        self._over = True
        for swarm, blob in self._swarms.values():
            swarm.close(Goodbye(Reason.SHUTDOWN))
            blob.close()
        self._swarms.clear()
