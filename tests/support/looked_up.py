"""A cluster whose members are known by DNS, all of it in this process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octopull.config.membership import DnsSettings, HealthSettings
from octopull.config.services import (
    AgentConfig,
    Listen,
    OriginConfig,
    PeerSettings,
    ProxyConfig,
    RepairSettings,
    TagIndexConfig,
    TrackerConfig,
)  # fmt: skip
from octopull.http.client import Http
from octopull.http.serving import Listening
from octopull.kernel.digest import Digest
from octopull.placement.members import Members
from octopull.services.agent.app import run as run_agent
from octopull.services.origin.app import run as run_origin
from octopull.services.proxy.app import run as run_proxy
from octopull.services.tag_index.app import run as run_tag_index
from octopull.services.tracker.app import run as run_tracker
from support.origins import holders
from support.ports import free_ports
from support.servers.dnsmasq import ZONE, Dns
from support.services import started

ADDRESSES = [f"127.0.0.{number}" for number in range(1, 5)]
REPLICAS = 2
OFTEN = RepairSettings(every_s=0.2, settle_s=0.0, bytes_per_s=None)
HEALTH = HealthSettings(every_s=0.1, timeout_s=2.0)


@dataclass
class Zone:
    """Origins of several addresses at one port, which ``dns`` names, or a part of them."""

    folder: Path
    dns: Dns
    port: int

    @property
    def lookup(self) -> str:
        """Stands for all that are named."""
        return f"dns://origins.{ZONE}:{self.port}"

    @property
    def settings(self) -> DnsSettings:
        """With which changes are seen at once."""
        return DnsSettings(servers=[self.dns.server], every_s=0.1, timeout_s=0.5)

    def member(self, number: int) -> str:
        """Its name in the ring."""
        return f"{ADDRESSES[number]}:{self.port}"

    def name(self, *numbers: int, others: Sequence[str] = ()) -> None:
        """Let these be the origins, besides ``others``: records that stay as they are."""
        self.dns.serve(Dns.host("origins", *(ADDRESSES[one] for one in numbers)), others)

    @asynccontextmanager
    async def origin(self, number: int, **settings: Any) -> AsyncIterator[Listening]:
        """It runs, whether it is named or not."""
        told = {"replicas": REPLICAS, "repair": OFTEN, "origins": [self.lookup], **settings}
        config = OriginConfig(
            data=str(self.folder / f"origin-{number}"), name=self.member(number),
            listen=Listen(host=ADDRESSES[number], port=self.port), health=HEALTH,
            peer=PeerSettings(listen=Listen(host=ADDRESSES[number])), dns=self.settings, **told,
        )  # fmt: skip
        async with started(run_origin, config) as one:
            yield one

    @asynccontextmanager
    async def proxy(self, tag_indexes: list[str], **settings: Any) -> AsyncIterator[Listening]:
        """One that looks all up, with ``tag_indexes``."""
        config = ProxyConfig(
            origins=[self.lookup], tag_indexes=tag_indexes, replicas=REPLICAS, dns=self.settings,
            health=HEALTH, **settings,
        )  # fmt: skip
        async with started(run_proxy, config) as one:
            yield one


@dataclass
class Around:
    """What is around the origins: all look them up, and the agent all it needs."""

    proxy: Listening
    tag_index: Listening
    tracker: Listening
    agent: Listening
    records: list[str]
    """By which they are found."""


@asynccontextmanager
async def around(zone: Zone, *origins: int) -> AsyncIterator[Around]:
    """A tag index, a tracker, a proxy and an agent; ``origins`` are those that are named."""
    tracker_port, tag_index_port = free_ports(2)
    # Names that nobody but this zone's server knows.
    trackers, tag_indexes = f"tracker.{ZONE}:{tracker_port}", f"index.{ZONE}:{tag_index_port}"
    records = [
        *Dns.host("tracker", "127.0.0.1"), *Dns.host("index", "127.0.0.1"),
        Dns.service("_octopull-tracker._tcp", trackers),
        Dns.service("_octopull-tag-index._tcp", tag_indexes),
    ]  # fmt: skip
    zone.name(*origins, others=records)
    shared: dict[str, Any] = {"dns": zone.settings}
    ring = {"origins": [zone.lookup], "replicas": REPLICAS, "health": HEALTH, **shared}
    found: dict[str, Any] = {
        "trackers": [f"srv://_octopull-tracker._tcp.{ZONE}"],
        "tag_indexes": [f"srv://_octopull-tag-index._tcp.{ZONE}"],
    }
    async with AsyncExitStack() as stack:
        tracker = await stack.enter_async_context(
            started(run_tracker, TrackerConfig(listen=Listen(port=tracker_port), **ring))
        )
        tag_index = await stack.enter_async_context(
            started(run_tag_index, TagIndexConfig(
                data=str(zone.folder / "index"), listen=Listen(port=tag_index_port), **ring))
        )  # fmt: skip
        proxy = await stack.enter_async_context(zone.proxy(found["tag_indexes"]))
        agent = await stack.enter_async_context(
            started(run_agent, AgentConfig(data=str(zone.folder / "agent"), **found, **shared))
        )
        yield Around(proxy, tag_index, tracker, agent, records)


async def owners_hold(http: Http, ring: Sequence[str], digests: Sequence[Digest]) -> bool:
    """Whether each has its owners' copies in a ring of ``ring``."""
    for digest in digests:
        owners = Members(ring).now.owners(digest, REPLICAS)
        if not set(owners) <= await holders(http, owners, digest):
            return False
    return True
