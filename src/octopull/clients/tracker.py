"""How agents speak to trackers: one announce for all swarms of a host, and metainfo."""

from collections.abc import Sequence

import msgspec

from octopull.blob.metainfo import METAINFO_BYTES_MAX, Metainfo
from octopull.blob.start import Start
from octopull.clients import starts
from octopull.clients.failover import first
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt
from octopull.kernel.peers import Peer
from octopull.placement.health import Health

STARTS_S = 15.0
SWARMS_MAX = 1000
"""Swarms in one announce."""


class SwarmStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One swarm of a host: what it is, whether the host has it whole, how many peers it wants."""

    info_hash: str
    digest: str
    namespace: str
    complete: bool
    wants: int


class AnnounceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a host tells a tracker."""

    peer: Peer
    swarms: list[SwarmStatus]


class AnnounceReply(msgspec.Struct, frozen=True, kw_only=True):
    """Peers by info hash, and when to announce again."""

    interval_s: float
    swarms: dict[str, list[Peer]]


class TrackerClient:
    """The trackers of one cluster; ``hosts`` are ``host:port``, any of which may be asked."""

    def __init__(self, http: Http, hosts: Sequence[str]) -> None:
        self._http = http
        self._hosts = list(hosts)
        self._health = Health()

    async def announce(self, request: AnnounceRequest) -> AnnounceReply:
        """Tell of our swarms and hear of peers.

        Raises:
            Unavailable: no tracker answers.

        """

        async def ask(host: str) -> AnnounceReply:
            url = f"http://{host}/announce"
            return await self._http.json("POST", url, AnnounceReply, body=request, timeout_s=5)

        return await first(self._hosts, self._health, ask)

    async def metainfo(self, namespace: str, digest: Digest) -> Metainfo:
        """The blob's metainfo.

        Raises:
            NotFound: the cluster lacks it. Unavailable: no tracker, or no origin, answers.
            Corrupt: it describes something else.

        """

        async def ask(host: str) -> bytes:
            url = f"http://{host}/namespace/{namespace}/blobs/{digest}/metainfo"
            return await self._http.bytes("GET", url, bytes_max=METAINFO_BYTES_MAX, timeout_s=35)

        metainfo = Metainfo.decode(await first(self._hosts, self._health, ask))
        if metainfo.digest != digest:
            raise Corrupt("a tracker sent another blob's metainfo", digest=str(digest))
        return metainfo

    async def starts(self, namespace: str, digests: Sequence[Digest]) -> list[Start]:
        """How to begin with ``digests``; what the tracker can't tell is left out.

        Raises:
            Unavailable: no tracker answers. Corrupt: it answered something else.

        """

        async def ask(host: str) -> list[Start]:
            return await starts.ask(self._http, host, namespace, digests, STARTS_S)

        return await first(self._hosts, self._health, ask)

    async def ready(self) -> None:
        """Raises Unavailable when no tracker answers."""

        async def ask(host: str) -> None:
            await self._http.call("GET", f"http://{host}/health", timeout_s=3)

        await first(self._hosts, self._health, ask)
