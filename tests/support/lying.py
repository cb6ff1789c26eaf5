"""Those who lie about a blob: a tracker that names other metainfo, a peer whose bytes agree with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from octopull.blob import start
from octopull.blob.hashing import LeafHasher
from octopull.blob.metainfo import Growing, Metainfo, describe
from octopull.blob.start import Inline, Start
from octopull.clients.starts import read_request
from octopull.clients.tracker import AnnounceReply
from octopull.config.services import Listen, PeerSettings
from octopull.config.tls import ClusterTls
from octopull.http.server import application, json_answer
from octopull.http.serving import serve
from octopull.kernel.digest import Digest
from octopull.kernel.peers import Peer, PeerKind
from octopull.security.reloading import known_as
from octopull.security.roles import Role
from octopull.services.tracker.api import read_announce
from octopull.storage.disk import DiskStore
from octopull.swarm.limits import SwarmLimits
from octopull.swarm.messages import Handshake
from octopull.transport.node import PeerNode
from octopull.transport.seeds import Seeds
from octopull.transport.swarm import Swarm
from support.relays import Relays

Tell = Callable[[Metainfo | Growing], Start]
"""What a tracker says in place of what is so."""


def lie(digest: Digest, wrong: bytes) -> Metainfo:
    """Metainfo by which ``wrong`` is the blob of that digest; the swarm is the right one's."""
    hasher = LeafHasher()
    hasher.update(wrong)
    return describe(digest, len(wrong), hasher)


@dataclass
class LyingTracker:
    """Says of every blob what ``tell`` makes of ``metainfo``; of small ones, ``inline`` if there is one.

    To agents it names nobody but ``peers``.
    """

    metainfo: Metainfo
    tell: Tell
    inline: Inline | None = None
    peers: list[Peer] = field(default_factory=list[Peer])
    address: str = ""
    lies: int = 0

    def add_to(self, app: web.Application) -> None:
        """What agents ask of trackers."""
        blob = "/namespace/{namespace:.+}/blobs/{digest}"
        app.add_routes([
            web.get(f"{blob}/metainfo", self._metainfo),
            web.get(f"{blob}/hashes", self._hashes),
            web.post("/namespace/{namespace:.+}/starts", self._starts),
            web.post("/announce", self._announce),
        ])  # fmt: skip

    def _told(self, one: Metainfo | Growing) -> bytes:
        self.lies += 1
        return start.encode(self.tell(one))

    async def _metainfo(self, _: web.Request) -> web.Response:
        return web.Response(body=self._told(self.metainfo))

    async def _hashes(self, request: web.Request) -> web.Response:
        first = int(request.query["first"])
        hashes = self.metainfo.piece_hashes[first:]
        return web.Response(body=self._told(Growing(self.metainfo.outline, first, hashes)))

    async def _starts(self, request: web.Request) -> web.Response:
        if self.metainfo.digest not in read_request(await request.read()):
            return web.Response()
        if self.inline is not None:
            self.lies += 1
            return web.Response(body=start.encode(self.inline))
        return web.Response(body=self._told(self.metainfo))

    async def _announce(self, request: web.Request) -> web.Response:
        told = read_announce(await request.read())
        swarms = {one.info_hash: self.peers for one in told.swarms}
        return json_answer(AnnounceReply(interval_s=1.0, swarms=swarms))


@asynccontextmanager
async def tracking(liar: LyingTracker, files: ClusterTls | None) -> AsyncIterator[LyingTracker]:
    """The tracker, with a certificate that is as good as any."""
    app = application("tracker")
    liar.add_to(app)
    async with (
        known_as(Role.TRACKER, files) as tls,
        serve(app, "tracker", Listen(), tls=tls) as listening,
    ):
        liar.address = listening.address
        yield liar


@asynccontextmanager
async def seeding(
    folder: Path, metainfo: Metainfo, content: bytes, files: ClusterTls | None
) -> AsyncIterator[PeerNode]:
    """A peer that has ``content`` as the blob of ``metainfo``: all proofs that it knows agree."""
    store = DiskStore(folder)

    def store_it() -> None:
        path = store.partial_root / "lie"
        with path.open("w+b") as file:
            file.write(content)
            file.flush()
            store.adopt(path, file.fileno(), metainfo)

    await asyncio.to_thread(store_it)
    seeds = Seeds(store, SwarmLimits())

    async def find(theirs: Handshake) -> Swarm | None:
        return await seeds.answer(node, theirs)

    async with (
        known_as(Role.AGENT, files) as tls,
        PeerNode(PeerSettings(), "f" * 40, PeerKind.AGENT, find, None, tls) as node,
    ):
        yield node
        seeds.close_all()


class FlippingRelay(Relays):
    """Relays to ``port``, and flips one bit of what comes back, ``at`` so many bytes."""

    def __init__(self, port: int, at: int) -> None:
        super().__init__(self._flip)
        self._port, self._at = port, at
        self.flipped = 0

    async def _flip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upper_reader, upper = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, upper))
                group.create_task(self._copy(upper_reader, writer, self._at))
        except* OSError:
            pass
        finally:
            upper.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: int = -1
    ) -> None:
        while chunk := bytearray(await reader.read(65536)):
            if 0 <= at < len(chunk):
                chunk[at] ^= 1
                self.flipped += 1
            at -= len(chunk)
            writer.write(bytes(chunk))
            await writer.drain()
        raise ConnectionResetError  # Half of a connection is none.
