"""How agents speak to trackers: one announce for all swarms of a host, and metainfo."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence

import msgspec

from octopull.blob.metainfo import METAINFO_BYTES_MAX, Growing
from octopull.blob.start import Described, Inline, Plain, Start
from octopull.clients import starts
from octopull.clients.binding import Binding
from octopull.clients.failover import first, first_heard
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Unavailable
from octopull.kernel.peers import Peer
from octopull.placement.members import Members

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
    """The trackers of one cluster; ``hosts`` are ``host:port``, or members that come and go.

    Each swarm has a tracker of its own, by its info hash, where its peers meet; while that is
    away, the next one, the same for all. What one tells of blobs counts as ``binding`` says; who
    tells what does not count is asked last for a while, to announces, too.
    """

    def __init__(
        self, http: Http, hosts: Sequence[str] | Members, binding: Binding | None = None
    ) -> None:
        self._http = http
        self._binding = binding or Binding(None)
        self._members = Members.of(hosts)
        self._health = self._members.health

    def _line(self, key: str) -> list[str]:
        return self._health.order(self._members.now.line(key), time.monotonic())

    async def announce(self, request: AnnounceRequest) -> AnnounceReply:
        """Tell of our swarms and hear of peers; of some alone if not all could be told.

        Raises:
            Unavailable: no tracker answers.

        """
        waiting, replies, silent = request.swarms, list[AnnounceReply](), Unavailable("no trackers")
        for _ in self._members.hosts:
            by_host = defaultdict[str, list[SwarmStatus]](list)
            for swarm in waiting:
                by_host[self._line(swarm.info_hash)[0]].append(swarm)
            answers = await asyncio.gather(
                *(self._announce_at(host, request.peer, told) for host, told in by_host.items())
            )
            waiting = []
            for told, answer in zip(by_host.values(), answers, strict=True):
                if isinstance(answer, Unavailable):
                    silent, waiting = answer, [*waiting, *told]
                else:
                    replies.append(answer)
            if not waiting:
                break
        if not replies:
            raise silent
        return AnnounceReply(
            interval_s=max(reply.interval_s for reply in replies),
            swarms={key: peers for reply in replies for key, peers in reply.swarms.items()},
        )

    async def _announce_at(
        self, host: str, peer: Peer, swarms: list[SwarmStatus]
    ) -> AnnounceReply | Unavailable:
        async def ask(host: str) -> AnnounceReply:
            request = AnnounceRequest(peer=peer, swarms=swarms)
            url = f"http://{host}/announce"
            return await self._http.json("POST", url, AnnounceReply, body=request, timeout_s=5)

        try:
            return await first([host], self._health, ask)
        except Unavailable as fault:
            return fault

    async def metainfo(self, namespace: str, digest: Digest) -> Described:
        """The blob's metainfo, or as much of it as is known.

        Raises:
            NotFound: the cluster lacks it. Unavailable: no tracker, or no origin, answers, or none
                that can be believed.

        """

        async def ask(host: str) -> Described:
            told = starts.describe(self._http, host, namespace, digest)
            (found,) = await self._all_believed(host, _listed(told))
            assert not isinstance(found, Inline)
            return found

        return await first(self._line(digest.hex), self._health, ask)

    async def hashes(
        self, namespace: str, digest: Digest, known: int
    ) -> tuple[list[Growing], float]:
        """Hashes of the pieces behind the first ``known``; and when to ask again, in seconds.

        Raises:
            as ``metainfo``.

        """

        async def ask(host: str) -> tuple[list[Growing], float]:
            url = f"http://{host}{starts.hashes_path(namespace, digest, known)}"
            reply = await self._http.call("GET", url, bytes_max=METAINFO_BYTES_MAX, timeout_s=35)

            async def read() -> Sequence[Start]:
                return starts.read_hashes(reply.body, digest)

            found = await self._all_believed(host, read())
            told = [one for one in found if isinstance(one, Growing)]
            return told, starts.again_s(reply.headers)

        return await first(self._line(digest.hex), self._health, ask)

    async def starts(self, namespace: str, digests: Sequence[Digest]) -> list[Plain]:
        """How to begin with ``digests``; what the tracker can't tell so that it is believed is left out.

        Raises:
            Unavailable: no tracker answers so that it makes sense.

        """

        async def ask(host: str) -> list[Plain]:
            told = starts.ask(self._http, host, namespace, digests, STARTS_S)
            return (await self._believed(host, told))[0]

        key = digests[0].hex if digests else ""
        return await first_heard(self._line(key), self._health, ask)

    async def _all_believed(self, host: str, told: Awaitable[Sequence[Start]]) -> list[Plain]:
        believed, refused = await self._believed(host, told)
        if refused:
            raise refused[0]
        return believed

    async def _believed(
        self, host: str, told: Awaitable[Sequence[Start]]
    ) -> tuple[list[Plain], list[Unavailable]]:
        """What ``host`` told, as far as it is believed.

        Raises:
            Unavailable: it makes no sense.

        """
        try:
            found = await told
        except Corrupt as fault:
            self._health.lied(host, time.monotonic())
            raise self._binding.refused(host, fault) from fault
        believed, refused = await self._binding.proven(host, found)
        if refused:
            self._health.lied(host, time.monotonic())
        return believed, refused

    async def ready(self) -> None:
        """Raises Unavailable when no tracker answers."""

        async def ask(host: str) -> None:
            await self._http.call("GET", f"http://{host}/health", timeout_s=3)

        await first(self._members.hosts, self._health, ask)


async def _listed(told: Awaitable[Start]) -> Sequence[Start]:
    return [await told]
