"""An origin and a tracker that speak TLS, agents beside them, and a client that notes what it gets."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from octopull.blob.start import Sealed
from octopull.clients import starts
from octopull.clients.origin import OriginCluster
from octopull.config.services import AgentConfig, Listen, OriginConfig, TrackerConfig
from octopull.config.tls import Seals
from octopull.http.client import Http, among_services
from octopull.http.serving import Listening
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault
from octopull.security.roles import Role
from octopull.services.agent.app import run as run_agent
from octopull.services.origin.app import run as run_origin
from octopull.services.tracker.app import run as run_tracker
from support.authorities import Authority, new
from support.services import started

NOBODY = "127.0.0.1:1"


@dataclass(frozen=True)
class Site:
    """An origin and a tracker that speak TLS, and what makes more of them."""

    http: Http
    folder: Path
    authority: Authority
    origin: Listening
    tracker: Listening

    async def push(self, blob: bytes) -> Digest:
        """As a proxy does."""
        files = self.authority.files(Role.PROXY)
        async with among_services(Role.PROXY, files) as (_, http):
            origins = OriginCluster(http.to(Role.ORIGIN), [self.origin.address], 1)
            await origins.uploads.push("ns", Digest.of(blob), blob)
        return Digest.of(blob)

    @asynccontextmanager
    async def agent(
        self, *trackers: str, sealing: Seals = Seals.DEMANDED
    ) -> AsyncIterator[Callable[[Digest], str]]:
        """An agent that knows ``trackers``; where it has a blob."""
        config = AgentConfig(
            data=str(self.folder / "agent"), trackers=list(trackers), tag_indexes=[NOBODY],
            metainfo_wait_s=0.1, tls=replace(self.authority.files(Role.AGENT), seals=sealing),
        )  # fmt: skip
        async with started(run_agent, config) as one:
            yield lambda digest: f"{one.url}/namespace/ns/blobs/{digest}"

    async def sealed(self, digest: Digest) -> Sealed:
        """What the tracker says of a blob, as agents hear it."""
        async with among_services(Role.AGENT, self.authority.files(Role.AGENT)) as (_, http):
            told = http.to(Role.TRACKER)
            one = await starts.describe(told, self.tracker.address, "ns", digest)
        assert isinstance(one, Sealed)
        return one


@asynccontextmanager
async def secure_site(http: Http, folder: Path) -> AsyncIterator[Site]:
    """One, with an authority of its own; ``http`` is for clients."""
    ours = new(folder / "authority")
    at_origin = OriginConfig(
        data=str(folder / "origin"), listen=Listen(port=0), tls=ours.files(Role.ORIGIN)
    )
    async with started(run_origin, at_origin) as one:
        at_tracker = TrackerConfig(
            origins=[one.address], replicas=1, listen=Listen(port=0), tls=ours.files(Role.TRACKER)
        )
        async with started(run_tracker, at_tracker) as tracker:
            yield Site(http, folder, ours, one, tracker)


async def received(http: Http, url: str) -> tuple[bytes, str]:
    """What a client gets, and why it got no more; empty if that is all."""
    got = bytearray()
    try:
        async with http.stream("GET", url) as answer:
            length = int(answer.headers["Content-Length"])
            async for chunk in answer.content.iter_any():
                got += chunk
    except Fault as fault:
        return bytes(got), str(fault) or "a fault"
    return bytes(got), "" if len(got) == length else "cut short"
