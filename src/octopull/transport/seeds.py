"""Swarms of blobs that are whole, or are becoming so from elsewhere than from peers.

Those of whole blobs are opened when they are asked for, and closed when idle.
"""

import asyncio
import functools
import os
import random
from dataclasses import dataclass, field, replace

from octopull.blob.outline import Outline
from octopull.kernel import bitfield
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.observability import logs
from octopull.storage.blob_file import BlobFile
from octopull.storage.disk import DiskStore
from octopull.swarm.engine import Engine
from octopull.swarm.events import Acquired
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Goodbye, Handshake, Reason
from octopull.transport.node import PeerNode
from octopull.transport.swarm import Swarm

log = logs.get("transport")


GROWING_S = 7 * 86400.0
"""A blob that grows is given up by who fetches it, not for want of peers."""


@dataclass(slots=True)
class _Whole:
    """A blob's file as a swarm's piece store."""

    fd: int
    blob: BlobFile | None

    def write(self, piece: int, content: memoryview) -> bool:
        raise Misuse("a seed takes no pieces", piece=piece, bytes=len(content))

    def close(self) -> None:
        """Close the file, and unpin the blob."""
        os.close(self.fd)
        if self.blob is not None:
            self.blob.close()


@dataclass(slots=True)
class GrowingSeed:
    """A blob that comes from elsewhere, served as far as it is there. Calls from the loop alone."""

    seeds: "Seeds"
    swarm: Swarm
    file: _Whole
    _over: bool = field(default=False)

    @property
    def fd(self) -> int:
        """The file that holds at least the acquired pieces; open until the seed closes."""
        return self.file.fd

    def acquired(self, piece: int) -> None:
        """A piece is proven, and written to the file."""
        self.swarm.tell(Acquired(piece))

    def keep(self, blob: BlobFile) -> None:
        """The blob is whole and in the store; ``blob`` is pinned as long as it is seeded."""
        self._over = True
        if self.swarm.closed:
            blob.close()
        else:
            self.file.blob = blob

    def drop(self) -> None:
        """The blob did not become whole; nothing happens after ``keep``."""
        if not self._over:
            self.seeds.close(self.swarm.outline.digest, Reason.SHUTDOWN)


class Seeds:
    """The blobs of one store that this process serves to peers.

    An open seed pins its blob in the store. Calls come from the loop's thread.
    """

    def __init__(self, store: DiskStore, limits: SwarmLimits) -> None:
        self._store = store
        self._limits = limits
        self._swarms: dict[Digest, tuple[Swarm, _Whole]] = {}
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
        return swarm if swarm.outline.info_hash == theirs.info_hash.hex() else None

    async def open(self, node: PeerNode, digest: Digest, namespace: str) -> Swarm:
        """Seed ``digest``.

        Raises:
            NotFound: the store lacks it. Unavailable: that would be one swarm too many.

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
        metainfo = await asyncio.to_thread(self._store.metainfo, digest)
        blob = await asyncio.to_thread(self._store.open, digest)
        have = bitfield.full(metainfo.layout.count)
        if not node.places.make_room():
            blob.close()
            raise node.places.refused_swarm()
        file = _Whole(os.dup(blob.fd), blob)
        return self._start(node, metainfo.outline, namespace, have, file)

    def grow(self, node: PeerNode, outline: Outline, fd: int, namespace: str) -> GrowingSeed:
        """Seed a blob that is not in the store yet, from the file ``fd`` (to be closed here).

        An idle swarm makes room for it; if there is none, it is one more than there should be.
        """
        self.close(outline.digest, Reason.SHUTDOWN)
        node.places.make_room()
        file = _Whole(fd, None)
        return GrowingSeed(self, self._start(node, outline, namespace, 0, file), file)

    def _start(
        self, node: PeerNode, outline: Outline, namespace: str, have: int, file: _Whole
    ) -> Swarm:
        digest, growing = outline.digest, not have and outline.layout.count > 0
        make = functools.partial(
            Engine,
            me=node.me.id,
            layout=outline.layout,
            have=have,
            limits=replace(self._limits, give_up_s=GROWING_S) if growing else self._limits,
            salt=random.getrandbits(64),
            zone=node.me.zone,
            provable=0 if growing else None,
        )

        def changed() -> None:
            if swarm.retired:
                self.close(digest, Reason.DONE)

        swarm = Swarm(
            engine=make(), outline=outline, namespace=namespace, store=file,
            host=node, changed=changed, journal=node.journals.open(digest, make.keywords),
        )  # fmt: skip
        self._swarms[digest] = (swarm, file)
        swarm.start()
        log.debug("seed.opened", digest=digest.short)
        if self._over:
            self.close(digest, Reason.SHUTDOWN)
        return swarm

    def close(self, digest: Digest, reason: Reason) -> None:
        """Stop seeding ``digest``; it stays in the store. Unknown ones are ignored."""
        entry = self._swarms.pop(digest, None)
        if entry is not None:
            entry[0].close(Goodbye(reason))
            entry[1].close()

    def close_all(self) -> None:
        """Stop seeding, for good."""
        self._over = True
        for swarm, file in self._swarms.values():
            swarm.close(Goodbye(Reason.SHUTDOWN))
            file.close()
        self._swarms.clear()
