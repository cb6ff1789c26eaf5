"""The tracker's HTTP API: announces and metainfo."""

import random
import re
import time

import msgspec
from aiohttp import web

from octopull.blob import start
from octopull.clients.starts import AGAIN_HEADER, REPLY_BYTES_MAX, SEALED, read_request
from octopull.clients.tracker import SWARMS_MAX, AnnounceRequest, SwarmStatus
from octopull.config.announcing import Announced
from octopull.http import queries
from octopull.kernel import documents, names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.kernel.peers import Peer, PeerKind
from octopull.placement.handout import handout, names_origins
from octopull.security.identity import caller_certificate
from octopull.services.tracker.announced import check_own
from octopull.services.tracker.growing import Growths
from octopull.services.tracker.peer_stores import PeerStore
from octopull.services.tracker.sources import MetainfoCache, OriginPeers

_INFO_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
AGAIN_S = 0.25
FOLLOWERS_PER_S = 2000
"""Questions for hashes per second and blob: a tracker answers 9,000 small ones (docs/benchmarks.md)."""


def _draw(below: int) -> int:
    return int(random.random() * below)


_DECODER = msgspec.json.Decoder(AnnounceRequest)
_ENCODER = msgspec.json.Encoder()


class EncodedReply(msgspec.Struct, frozen=True, kw_only=True):
    """An ``AnnounceReply`` whose peers are JSON already."""

    interval_s: float
    swarms: dict[str, list[msgspec.Raw]]


class Api:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, peers: PeerStore, metainfo: MetainfoCache, growths: Growths, origins: OriginPeers,
        interval_s: float, handout_max: int, announced: Announced,
    ) -> None:  # fmt: skip
        self._announced = announced
        self._peers = peers
        self._growths = growths
        self._metainfo = metainfo
        self._origins = origins
        self._interval_s = interval_s
        self._handout_max = handout_max

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.add_routes(
            [
                web.post("/announce", self.announce),
                web.get("/namespace/{namespace:.+}/blobs/{digest}/metainfo", self.metainfo),
                web.get("/namespace/{namespace:.+}/blobs/{digest}/hashes", self.hashes),
                web.post("/namespace/{namespace:.+}/starts", self.starts),
            ]
        )

    async def announce(self, request: web.Request) -> web.Response:
        """Note a host's swarms; name peers for those it lacks."""
        told = read_announce(await request.read())
        if self._announced is Announced.OWN:
            source = request.transport and request.transport.get_extra_info("peername")
            names = caller_certificate(request.transport)
            check_own(told.peer.host, names, str(source[0]) if source else "")
        now = time.monotonic()
        known = {one.info_hash for one in told.swarms
                 if told.peer.id in self._peers.swarm(one.info_hash).members}  # fmt: skip
        await self._peers.announce(told.peer, told.swarms, now)
        swarms: dict[str, list[msgspec.Raw]] = {}
        for swarm in told.swarms:
            swarms[swarm.info_hash] = await self._named(
                told.peer, swarm, now, known=swarm.info_hash in known
            )
        reply = EncodedReply(interval_s=self._interval_s, swarms=swarms)
        return web.Response(body=_ENCODER.encode(reply), content_type="application/json")

    async def _named(
        self, asker: Peer, swarm: SwarmStatus, now: float, *, known: bool
    ) -> list[msgspec.Raw]:
        if swarm.complete:
            return []
        count = min(swarm.wants, self._handout_max)
        members = self._peers.swarm(swarm.info_hash)
        chosen = [one.encoded for one in handout(asker, members, count, now, _draw)]
        if names_origins(members, _draw, alone=known and swarm.wants >= self._handout_max):
            chosen += await self._origins.encoded(swarm.digest)
        return chosen

    async def metainfo(self, request: web.Request) -> web.Response:
        """A blob's metainfo, from memory or from its owners."""
        namespace = names.namespace(request.match_info["namespace"])
        digest = Digest.parse(request.match_info["digest"])
        encoded = _understood(request, await self._metainfo.get(namespace, digest))
        return web.Response(body=encoded, content_type="application/octet-stream")

    async def hashes(self, request: web.Request) -> web.Response:
        """Hashes of a blob that an origin is fetching, from the piece ``first`` on.

        The more agents follow it, the less often each is to ask.
        """
        namespace = names.namespace(request.match_info["namespace"])
        digest = Digest.parse(request.match_info["digest"])
        first = queries.number(request, "first", 0)
        growth = await self._growths.of(namespace, digest, first)
        followers = len(self._peers.swarm(growth.outline.info_hash).members)
        again_s = max(AGAIN_S, followers / FOLLOWERS_PER_S)
        if SEALED in request.query:
            body = b"".join(start.encode(part) for part in growth.behind(first))
        else:
            body = growth.joined(first).encode()
        return web.Response(
            body=body, content_type="application/octet-stream",
            headers={AGAIN_HEADER: f"{again_s:.2f}"},
        )  # fmt: skip

    async def starts(self, request: web.Request) -> web.Response:
        """How to begin with each of several blobs: one request for a whole image."""
        namespace = names.namespace(request.match_info["namespace"])
        digests = read_request(await request.read())
        found = await self._metainfo.starts(namespace, digests)
        told = (_understood(request, one) for one in found)
        body = start.join(told, REPLY_BYTES_MAX)
        return web.Response(body=body, content_type="application/octet-stream")


def _understood(request: web.Request, encoded: bytes) -> bytes:
    """Agents of before seals make nothing of them."""
    return encoded if SEALED in request.query else start.unsealed(encoded)


def read_announce(body: bytes) -> AnnounceRequest:
    """An announce that makes sense.

    Raises:
        Misuse: anything else.

    """
    told = documents.read(_DECODER.decode, body, "an announce")
    if told.peer.kind is not PeerKind.AGENT:
        # Origins are known by the ring: whoever says to be one would be asked by everybody.
        raise Misuse("agents announce themselves, and nobody else")
    if len(told.swarms) > SWARMS_MAX:
        raise Misuse("too many swarms in one announce", most=SWARMS_MAX)
    for swarm in told.swarms:
        Digest.parse(swarm.digest)
        names.namespace(swarm.namespace)
        if _INFO_HASH.fullmatch(swarm.info_hash) is None:
            raise Misuse("an info hash has 64 hexadecimal characters")
        if swarm.wants < 0:
            raise Misuse("wants counts peers")
    return told
