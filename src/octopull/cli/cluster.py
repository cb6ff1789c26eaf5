"""The embedded cluster: all services in one process, wired to each other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octopull.cli.embedded_access import of_agents, with_key
from octopull.cli.serve import Run
from octopull.config.access import AccessSettings
from octopull.config.backends import TAG_SCHEMES, BackendSettings, TagBackendSettings
from octopull.config.quotas import QuotaFileSettings
from octopull.config.replication import ReplicationSettings
from octopull.config.services import (
    AgentConfig,
    GcSettings,
    Listen,
    OriginConfig,
    PeerSettings,
    ProxyConfig,
    TagIndexConfig,
    TrackerConfig,
)  # fmt: skip
from octopull.config.tls import ClusterTls
from octopull.config.upstreams import UpstreamSettings
from octopull.http.serving import Listening
from octopull.runtime.tasks import Tasks
from octopull.security.roles import Role
from octopull.services.agent.app import run as run_agent
from octopull.services.origin.app import run as run_origin
from octopull.services.proxy.app import run as run_proxy
from octopull.services.tag_index.app import run as run_tag_index
from octopull.services.tracker.app import run as run_tracker

if TYPE_CHECKING:
    from octopull.cli.own_certificates import OwnCertificates

AGENTS_MAX = 50
COLLECT_EVERY_S = 3600.0
UNREPLICATED = ReplicationSettings()
UNLIMITED = QuotaFileSettings()


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the services of a running cluster listen."""

    proxy: Listening
    tag_index: Listening
    tracker: Listening
    origin: Listening
    agents: tuple[Listening, ...]
    certificates: "OwnCertificates | None" = None
    """Without them, all of it speaks in clear."""

    def document(self) -> dict[str, Any]:
        """As written to the ready file: every address as ``host:port``."""
        own = self.certificates
        secure = {} if own is None else {"tls": str(own.operator), "trusted": str(own.trusted)}
        return {
            **secure,
            "proxy": self.proxy.address,
            "tag_index": self.tag_index.address,
            "tracker": self.tracker.address,
            "origins": [self.origin.address],
            "agents": [
                {"http": agent.address, "peer": f"{agent.host}:{agent.peer_port}"}
                for agent in self.agents
            ],
        }


@dataclass(frozen=True, slots=True)
class Outside:
    """Where images come from and go to that is not of the cluster, who may, and how much."""

    upstreams: list[UpstreamSettings]
    backends: list[BackendSettings]
    replication: ReplicationSettings
    access: AccessSettings | None
    quotas: QuotaFileSettings


@dataclass(frozen=True, slots=True)
class Speaking:
    """How the services speak: by these certificates, or in clear."""

    certificates: "OwnCertificates | None"

    def of(self, role: Role) -> ClusterTls | None:
        """By what a service knows the others."""
        return None if self.certificates is None else self.certificates.of(role)

    def outside(self, listen: Listen, role: Role) -> Listen:
        """Where a service that has clients outside the cluster listens."""
        return listen if self.certificates is None else self.certificates.https(listen, role)


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of the embedded cluster, from ``base`` on; a base of 0 takes any free ones."""

    base: int
    host: str

    def at(self, offset: int) -> Listen:
        """The address ``offset`` above the base."""
        return Listen(host=self.host, port=self.base + offset if self.base else 0)

    def peer_at(self, offset: int) -> PeerSettings:
        """The same for a peer port."""
        return PeerSettings(listen=self.at(offset))


def tags_beside(backend: BackendSettings) -> list[TagBackendSettings]:
    """Where the tags of images go whose blobs ``backend`` takes: to the same place, if it can."""
    scheme, _, _ = backend.url.partition(":")
    if scheme not in TAG_SCHEMES:
        return []
    return [
        TagBackendSettings(
            url=backend.url, match=backend.match, name=backend.name, read_only=backend.read_only,
            credentials=backend.credentials, options=backend.options,
        )
    ]  # fmt: skip


@asynccontextmanager
async def running(
    data: Path, agents: int, ports: Ports, upstreams: Sequence[UpstreamSettings] = (),
    backend: BackendSettings | None = None, replication: ReplicationSettings = UNREPLICATED,
    access: AccessSettings | None = None, certificates: "OwnCertificates | None" = None,
    quotas: QuotaFileSettings = UNLIMITED,
) -> AsyncIterator[Cluster]:  # fmt: skip
    """A whole cluster with its data under ``data``, until the block ends.

    The images of ``upstreams`` are fetched when they are asked for; blobs and tags are written to
    ``backend``, and read from there if this cluster lacks them. What is pushed goes to other
    clusters as ``replication`` says. Who may do what is as ``access`` says; where that has a token
    service without a key, one is made. With ``certificates`` all of it speaks TLS. How much may be
    pushed is as ``quotas`` say.

    Raises:
        Unavailable: an address is taken, or the data folder can't be had.
        Misuse: the backend can't be opened as it is described, or the file of rules is wrong.

    """
    stop = asyncio.Event()
    async with Tasks() as tasks, asyncio.TaskGroup() as group:
        if certificates is not None:
            tasks.start(certificates.renew_daily(), "renew certificates")

        async def start(run: Run, config: object) -> Listening:
            ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
            group.create_task(_run(run, config, ready, stop))
            return await ready

        try:
            backends = [] if backend is None else [backend]
            asked = None if access is None else with_key(access, data)
            outside = Outside(list(upstreams), backends, replication, asked, quotas)
            speaking = Speaking(certificates)
            yield await _start_all(start, data, agents, ports, outside, speaking)
        finally:
            stop.set()


async def _run(
    run: Run, config: object, ready: asyncio.Future[Listening], stop: asyncio.Event
) -> None:
    try:
        await run(config, ready.set_result, stop)
    except BaseException:
        ready.cancel()
        raise


async def _start_all(
    start: Callable[[Run, object], Any], data: Path, agents: int, ports: Ports,
    outside: Outside, speaking: Speaking,
) -> Cluster:  # fmt: skip
    upstreams = outside.upstreams
    tag_backends = [tags for backend in outside.backends for tags in tags_beside(backend)]
    origin = await start(
        run_origin,
        OriginConfig(data=str(data / "origin"), listen=ports.at(10), peer=ports.peer_at(11),
                     replicas=1, upstreams=upstreams, backends=outside.backends,
                     tls=speaking.of(Role.ORIGIN)),
    )  # fmt: skip
    origins = [origin.address]
    tracker = await start(
        run_tracker,
        TrackerConfig(origins=origins, listen=ports.at(20), replicas=1, upstreams=upstreams,
                      tls=speaking.of(Role.TRACKER)),
    )  # fmt: skip
    tag_index = await start(
        run_tag_index,
        TagIndexConfig(data=str(data / "tag-index"), origins=origins, listen=ports.at(30),
                       replicas=1, gc=GcSettings(every_s=COLLECT_EVERY_S),
                       upstreams=upstreams, tag_backends=tag_backends,
                       replication=outside.replication, quotas=outside.quotas,
                       tls=speaking.of(Role.TAG_INDEX)),
    )  # fmt: skip
    proxy = await start(
        run_proxy,
        ProxyConfig(origins=origins, tag_indexes=[tag_index.address],
                    listen=speaking.outside(ports.at(0), Role.PROXY),
                    trackers=[tracker.address], replicas=1, upstreams=upstreams,
                    tls=speaking.of(Role.PROXY), access=outside.access),
    )  # fmt: skip
    access = None if outside.access is None else of_agents(outside.access, proxy, data)
    started = [
        await start(
            run_agent,
            AgentConfig(
                data=str(data / f"agent-{number}"),
                trackers=[tracker.address],
                tag_indexes=[tag_index.address],
                deletions_s=2.0,
                heartbeat_s=1.0,
                labels={"agent": str(number)},
                listen=speaking.outside(ports.at(100 + number), Role.AGENT),
                peer=ports.peer_at(200 + number),
                upstreams=upstreams,
                tls=speaking.of(Role.AGENT),
                access=access,
            ),
        )
        for number in range(1, agents + 1)
    ]
    certificates = speaking.certificates
    return Cluster(proxy, tag_index, tracker, origin, tuple(started), certificates)
