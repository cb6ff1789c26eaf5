"""How the other services speak to the origins: blobs by their owners, uploads by token."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from octopull.blob.metainfo import METAINFO_BYTES_MAX, Growing
from octopull.blob.start import Described, Sealed, Start
from octopull.clients import keeping, starts
from octopull.clients.failover import first, first_heard, first_holder
from octopull.clients.holders import Holders, blob_url
from octopull.clients.origin_uploads import OriginUploads
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Corrupt, Fault, NotFound, Unavailable
from octopull.kernel.peers import Peer
from octopull.observability import logs
from octopull.oci.upstreams import split
from octopull.placement.members import Members
from octopull.placement.rendezvous import EVEN, Weights

log = logs.get("origins")
STARTS_S = 2.0
STARTS_ROUNDS = 2
"""What a blob's first owner lacks, the next one is asked for; after that, swarms do without."""

STARTS_FETCH_S = 1.0
"""A small blob of an upstream is there by then; for others nobody should wait here."""

SOURCE_S = 30.0
"""A backend may take long to say whether it has a blob."""

SIZE_HEADER = "Octopull-Size"


class OriginCluster:
    """The origins of one cluster; ``hosts`` are ``host:port``, or members that come and go.

    ``book`` names the book of the tag index that asks, if one does. What no origin has is fetched from a
    backend or upstream when it is asked for; whoever asks waits for that as long as it goes on,
    with ``patience_s`` seconds of silence, or else is told ``Pending``. What an upstream of
    ``upstreams`` lacks is nowhere, whatever origins are down.
    """

    def __init__(
        self, http: Http, hosts: Sequence[str] | Members, replicas: int,
        book: Callable[[], str] = str, upstreams: Collection[str] = (), patience_s: float = 0.0,
        weights: Weights = EVEN,
    ) -> None:  # fmt: skip
        self._http = http
        self._book = book
        self._members = Members.of(hosts, weights)
        self._replicas = replicas
        self._upstreams = upstreams
        self._health = self._members.health
        self.holders = Holders(http, self._members, upstreams, patience_s)
        self.uploads = OriginUploads(http, self._members)

    @property
    def hosts(self) -> list[str]:
        """All of them, now."""
        return list(self._members.hosts)

    def owners(self, digest: Digest) -> list[str]:
        """The hosts that should hold ``digest``, best first."""
        return self._members.now.owners(digest, self._replicas)

    def seeds(self, digest: Digest) -> list[str]:
        """Whom to ask for the pieces of ``digest``; see ``Membership.holders``."""
        return self._members.now.holders(digest, self._replicas, self._health.down)

    @property
    def silent_max(self) -> int:
        """So many may be silent, and the others show each acknowledged push: fewer than a quorum."""
        members = self._members
        copies = min(self._replicas, len(members.hosts)) if members.fixed else self._replicas
        return copies // 2

    async def stat(self, namespace: str, digest: Digest) -> int:
        """Size in bytes, of what can be fetched, too.

        Raises:
            NotFound: no origin has it, nor what they fetch from. Unavailable: not all could be
                asked.
            Pending, UpstreamFailed: it is on its way from an upstream; it won't come.

        """

        async def ask(host: str) -> int:
            reply = await self._http.call("HEAD", blob_url(host, namespace, digest))
            return int(reply.headers["Content-Length"])

        try:
            return await first_holder(self.holders.line(digest), self._health, ask)
        except (NotFound, Unavailable) as fault:
            with self.holders.unless_nowhere(namespace, fault):
                size = await self._size_elsewhere(namespace, digest)
        return await self.holders.ask(namespace, digest, ask) if size is None else size

    async def _size_elsewhere(self, namespace: str, digest: Digest) -> int | None:
        """Of a blob that can be fetched; None if that is known at the end alone.

        Raises:
            as ``stat``.

        """

        async def ask(host: str) -> int | None:
            url = f"{blob_url(host, namespace, digest)}/source"
            reply = await self._http.call("HEAD", url, timeout_s=SOURCE_S)
            size = reply.headers.get(SIZE_HEADER, "")
            return int(size) if size else None

        return await first(self.holders.line(digest), self._health, ask)

    async def keep(
        self, namespace: str, digests: Sequence[Digest], silent_max: int = 0
    ) -> dict[Digest, int]:
        """Touch blobs that somebody is about to refer to, on all their owners.

        Returns the sizes in bytes of those that are there: they stay for the grace time of
        garbage collection, or until the manifest that refers to them is recorded or refused. If
        that is a book's affair, they are on a quorum of origins, too.

        Raises:
            Unavailable: one was found nowhere, and not all could be asked, but for ``silent_max``;
                or one has too few copies, and no more can be made.

        """
        wanted = dict.fromkeys(digests)
        asked = {digest: self.owners(digest) for digest in wanted}
        found, silent = await self._keep_at(asked, namespace)
        others = {
            digest: [host for host in self.hosts if host not in hosts]
            for digest, hosts in asked.items()
            if digest not in found
        }
        more, also_silent = await self._keep_at(others, namespace)
        silent |= also_silent
        missing = [digest for digest in others if digest not in more]
        more |= await self._sizes(namespace, missing)
        nowhere = any(digest not in more for digest in missing)
        if nowhere and len(silent) > silent_max and split(namespace, self._upstreams) is None:
            raise next(iter(silent.values()))
        return {**found, **more}

    async def _keep_at(
        self, asked: Mapping[Digest, Sequence[str]], namespace: str
    ) -> tuple[dict[Digest, int], dict[str, Unavailable]]:
        return await keeping.keep_at(self._http, asked, self._health, namespace, self._book())

    async def _sizes(self, namespace: str, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Of blobs that can be fetched.

        One that an origin has all the same, but does not let be referred to, is none of them.
        """
        found: dict[Digest, int] = {}
        for digest in digests:
            with contextlib.suppress(NotFound):
                size = await self._size_elsewhere(namespace, digest)
                found[digest] = await self.stat(namespace, digest) if size is None else size
        return found

    async def read(self, namespace: str, digest: Digest, bytes_max: int) -> bytes:
        """The whole blob, checked against its digest.

        Raises:
            NotFound, Unavailable: as ``stat``. TooLarge: beyond ``bytes_max``.
            Corrupt: the bytes are wrong.

        """

        async def ask(host: str) -> bytes:
            return await self._http.bytes(
                "GET", blob_url(host, namespace, digest), bytes_max=bytes_max, timeout_s=30
            )

        return _proven(digest, await self.holders.ask(namespace, digest, ask))

    async def read_held(self, namespace: str, digest: Digest, bytes_max: int) -> bytes:
        """As ``read``, but nothing is fetched for it."""

        async def ask(host: str) -> bytes:
            url = f"{blob_url(host, namespace, digest)}?whole=1"
            return await self._http.bytes("GET", url, bytes_max=bytes_max, timeout_s=30)

        return _proven(digest, await first_holder(self.holders.line(digest), self._health, ask))

    async def metainfo(self, namespace: str, digest: Digest) -> Described:
        """The blob's metainfo, or as much of it as is known.

        Raises:
            as ``stat``; Corrupt: it does not describe ``digest``.

        """
        told = await self.sealed_metainfo(namespace, digest)
        return told.described if isinstance(told, Sealed) else told

    async def sealed_metainfo(self, namespace: str, digest: Digest) -> Described | Sealed:
        """As ``metainfo``, with the origin's seal if it makes any, for those who ask us."""

        async def ask(host: str) -> Described | Sealed:
            return await starts.describe(self._http, host, namespace, digest)

        return await self.holders.ask(namespace, digest, ask)

    async def hashes(self, namespace: str, digest: Digest, first: int) -> Growing | Sealed:
        """Hashes of the pieces from ``first`` on, as far as they are known; sealed as above.

        Raises:
            as ``metainfo``.

        """

        async def ask(host: str) -> Growing | Sealed:
            url = f"http://{host}{starts.hashes_path(namespace, digest, first)}"
            body = await self._http.bytes("GET", url, bytes_max=METAINFO_BYTES_MAX, timeout_s=30)
            parts = starts.read_hashes(body, digest)
            if len(parts) != 1:
                raise Corrupt("an origin sent no hashes, or several times", digest=str(digest))
            return parts[0]

        return await self.holders.ask(namespace, digest, ask)

    async def starts(self, namespace: str, digests: Sequence[Digest]) -> list[Start]:
        """How to begin with ``digests``; what its first owner can't tell is left out.

        Who asks for one alone wants it now, so that is fetched from elsewhere if it can be. Who
        asks for many may want few of them.
        """
        found = await self._starts(namespace, digests)
        if found or len(digests) != 1:
            return found
        try:
            await self.holders.fetch(namespace, digests[0], wait_s=STARTS_FETCH_S)
        except Fault as fault:
            log.info("fetch.failed", digest=digests[0].short, reason=str(fault))
            return []
        return await self._starts(namespace, digests)

    async def _starts(self, namespace: str, digests: Sequence[Digest]) -> list[Start]:
        found: dict[Digest, Start] = {}
        for passed in range(STARTS_ROUNDS):
            by_line = defaultdict[tuple[str, ...], list[Digest]](list)
            for digest in digests:
                if digest in found:
                    continue
                line = self._health.order(self.holders.line(digest), time.monotonic())
                if passed < len(line):
                    by_line[tuple(line[passed : passed + 2])].append(digest)
            answers = await asyncio.gather(
                *(self._starts_of(line, namespace, asked) for line, asked in by_line.items())
            )
            found |= {one.digest: one for answer in answers for one in answer}
        return list(found.values())

    async def _starts_of(
        self, line: Sequence[str], namespace: str, digests: Sequence[Digest]
    ) -> list[Start]:
        """What the first of ``line`` that answers has."""

        async def ask(host: str) -> list[Start]:
            return await starts.ask(self._http, host, namespace, digests, STARTS_S)

        try:
            return await first_heard(line, self._health, ask)
        except Fault as fault:
            log.info("starts.failed", hosts=line, reason=str(fault))
            return []

    async def peer(self, host: str) -> Peer:
        """Where the origin at ``host`` listens for peers."""
        return await self._http.json("GET", f"http://{host}/peer", Peer, timeout_s=5)

    async def ready(self) -> None:
        """Raises Unavailable when no origin answers."""

        async def ask(host: str) -> None:
            await self._http.call("GET", f"http://{host}/health", timeout_s=3)

        await first(self.hosts, self._health, ask)


def _proven(digest: Digest, content: bytes) -> bytes:
    if not digest.proves(content):
        raise Corrupt("an origin sent other bytes", digest=str(digest))
    return content


def replica_url(host: str, namespace: str, digest: Digest, mark: str) -> str:
    """Where an origin takes a copy from another origin, ``lone`` or ``backed`` if marked so."""
    url = f"http://{host}/internal/namespace/{namespace}/blobs/{digest}"
    return f"{url}?{mark}=1" if mark else url
