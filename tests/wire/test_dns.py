"""Clusters whose members are known by DNS: the zone changes, and services follow it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from click.testing import CliRunner

from octopull.cli.drain import drain as drain_command
from octopull.clients.draining import left
from octopull.clients.membership import members_of
from octopull.clients.origin import OriginCluster
from octopull.clients.preheats import PreheatClient
from octopull.config.services import AgentConfig, Listen, RepairSettings, TrackerConfig
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, Unavailable
from octopull.placement.heartbeats import Preheat
from octopull.placement.members import Members
from octopull.services.agent.app import run as run_agent
from octopull.services.origin import repair
from octopull.services.tracker.app import run as run_tracker
from octopull.storage.disk import DiskStore
from support import images
from support.cluster import content
from support.images import Image, image
from support.looked_up import REPLICAS, Around, Zone, around, owners_hold
from support.ports import free_port
from support.registry import Registry
from support.servers.dnsmasq import ZONE, Dns, dnsmasq, needs_dnsmasq
from support.services import started
from support.waiting import until

pytestmark = needs_dnsmasq
WITHIN_S = 30.0
REPOSITORY, NAMESPACE = "team/app", "ns"


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    with dnsmasq(tmp_path / "dns") as dns:
        yield Zone(tmp_path, dns, free_port())


async def knows(http: Http, service: str, cluster: str, *hosts: str) -> None:
    """Until the service knows exactly ``hosts`` of the cluster."""

    async def does() -> bool:
        told = await members_of(http, service)
        return {one.host for one in told[cluster]} == set(hosts)

    await until(does, WITHIN_S)


@asynccontextmanager
async def pulling(places: Around, pushed: list[Image]) -> AsyncIterator[None]:
    """Pulls through proxy and agent go on in the block, and none fails."""
    over = asyncio.Event()

    async def pull() -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            proxy, agent = (Registry(session, one.address) for one in (places.proxy, places.agent))
            while not over.is_set():
                for number, one in enumerate(pushed):
                    await images.pull(proxy, REPOSITORY, f"v{number}", one)
                    await images.pull(agent, REPOSITORY, f"v{number}", one)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(pull())
        yield
        over.set()
        await task


async def test_a_ring_grows_by_its_zone_what_must_moves_and_no_pull_fails(
    http: Http, zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one that joins need not wait for the next comparison, nor long for those who hear late.
    monkeypatch.setattr(repair, "AGAIN_S", 0.2)
    seldom = RepairSettings(every_s=3600.0, settle_s=0.0)
    pushed = [image(number, 50_000 + number) for number in range(12)]
    digests = [Digest.of(blob) for one in pushed for blob in (one.manifest, *one.blobs)]
    ring = [zone.member(number) for number in range(3)]
    zone.name(0, 1)
    async with zone.origin(0), zone.origin(1), around(zone, 0, 1) as places:
        await knows(http, places.proxy.address, "origins", *ring[:2])
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            for number, one in enumerate(pushed):
                registry = Registry(session, places.proxy.address)
                await images.push(registry, REPOSITORY, f"v{number}", one)
        async with zone.origin(2, repair=seldom) as joining:
            await knows(http, joining.address, "origins", *ring)
            assert [one.weight for one in (await members_of(http, joining.address))["origins"]
                    if one.host == ring[2]] == [0]  # fmt: skip
            async with pulling(places, pushed):
                zone.name(0, 1, 2, others=places.records)
                for place in (places.proxy, places.tag_index, places.tracker):
                    await knows(http, place.address, "origins", *ring)
                await until(lambda: owners_hold(http, ring, digests), WITHIN_S)
            held = {one.digest for one in DiskStore(zone.folder / "origin-2").entries()}
            owned = {one for one in digests if ring[2] in Members(ring).now.owners(one, REPLICAS)}
            assert held == owned
            assert 0 < len(owned) < len(set(digests))


async def test_an_agent_turns_to_the_trackers_that_dns_names(http: Http, zone: Zone) -> None:
    zone.dns.serve(Dns.host("tracker", "127.0.0.1"))
    places = [Listen(host=host, port=zone.port) for host in ("127.0.0.1", "127.0.0.2")]
    trackers = [TrackerConfig(origins=["127.0.0.1:1"], listen=one) for one in places]
    agent = AgentConfig(
        data=str(zone.folder / "agent"), trackers=[f"dns://tracker.{ZONE}:{zone.port}"],
        tag_indexes=["127.0.0.1:1"], dns=zone.settings, heartbeat_s=0.1,
    )  # fmt: skip
    preheat = Preheat(namespace="a/b", digest=str(Digest.of(b"")))
    async with (
        started(run_tracker, trackers[0]) as first, started(run_tracker, trackers[1]) as second,
        started(run_agent, agent),
    ):  # fmt: skip
        clients = [PreheatClient(http, [one.address]) for one in (first, second)]
        begun = [await one.begin(preheat) for one in clients]

        async def heard(number: int) -> bool:
            return (await clients[number].standing(begun[number].id)).agents == 1

        await until(lambda: heard(0), WITHIN_S)
        assert not await heard(1)
        zone.dns.serve(Dns.host("tracker", "127.0.0.2"))
        await until(lambda: heard(1), WITHIN_S)


async def test_while_dns_is_away_or_empty_all_goes_on_as_it_was(http: Http, zone: Zone) -> None:
    ring = [zone.member(0), zone.member(1)]
    zone.name(0, 1)
    async with zone.origin(0), zone.origin(1), zone.origin(2), around(zone, 0, 1) as places:
        await knows(http, places.proxy.address, "origins", *ring)
        pushed = [image(1, 10_000)]
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            registry = Registry(session, places.proxy.address)
            await images.push(registry, REPOSITORY, "v0", pushed[0])

            async def looked_up(outcome: str) -> None:
                """Each of the services' lookups ended so, anew."""
                before = await lookups(http, places.proxy.address, outcome)

                async def again() -> bool:
                    return await lookups(http, places.proxy.address, outcome) > before + 12

                await until(again, WITHIN_S)

            async with pulling(places, pushed):
                zone.dns.stop()
                await looked_up("failed")
                await images.push(registry, REPOSITORY, "v1", image(2, 10_000))
                zone.dns.serve()
                await looked_up("failed")
                await images.push(registry, REPOSITORY, "v2", image(3, 10_000))
                for one in (places.proxy, places.tag_index, places.tracker):
                    await knows(http, one.address, "origins", *ring)
                zone.name(1, 2, others=places.records)
                for one in (places.proxy, places.tag_index, places.tracker):
                    await knows(http, one.address, "origins", *ring, zone.member(2))


async def lookups(http: Http, service: str, outcome: str) -> float:
    """How many lookups of origins ended so, in all services."""
    text = (await http.call("GET", f"http://{service}/metrics")).body.decode()
    start = f'octopull_dns_lookups_total{{cluster="origins",outcome="{outcome}"}} '
    return sum(float(line.removeprefix(start)) for line in text.splitlines()
               if line.startswith(start))  # fmt: skip


async def test_services_that_start_while_dns_is_away_wait_for_it(http: Http, zone: Zone) -> None:
    ring = [zone.member(0), zone.member(1)]
    async with zone.origin(0) as origin, zone.proxy([zone.lookup]) as proxy:
        assert (await members_of(http, proxy.address))["origins"] == []
        assert [one.host for one in (await members_of(http, origin.address))["origins"]] == ring[:1]
        with pytest.raises(Unavailable):
            await http.call("GET", f"http://{proxy.address}/readiness")
        with pytest.raises(Unavailable):
            await http.call("POST", f"http://{proxy.address}/v2/a/b/blobs/uploads/")
        zone.name(0, 1)
        await knows(http, proxy.address, "origins", *ring)
        await http.call("POST", f"http://{proxy.address}/v2/a/b/blobs/uploads/")


async def test_a_push_has_as_many_copies_however_few_origins_dns_names(
    http: Http, zone: Zone
) -> None:
    zone.name(0)
    digest = Digest.of(b"twice or not at all")
    async with zone.origin(0) as origin, zone.origin(1) as other:
        cluster = OriginCluster(http, [zone.member(0)], REPLICAS)
        for one in (origin, other):
            await knows(http, one.address, "origins", *{one.address, zone.member(0)})
        async with cluster.uploads.opened(NAMESPACE) as token:

            async def body() -> AsyncIterator[bytes]:
                yield b"twice or not at all"

            await cluster.uploads.append(NAMESPACE, token, 0, body(), None)
            with pytest.raises(Unavailable, match="too few"):
                await cluster.uploads.commit(NAMESPACE, token, digest)
            zone.name(0, 1)
            await knows(http, origin.address, "origins", zone.member(0), zone.member(1))
            await cluster.uploads.commit(NAMESPACE, token, digest)
        assert await owners_hold(http, [zone.member(0), zone.member(1)], [digest])


@pytest.mark.parametrize("way", ["out of the zone", "by priority"])
async def test_an_origin_that_dns_no_longer_names_or_names_behind_others_is_drained(
    http: Http, zone: Zone, way: str
) -> None:
    ring = [zone.member(number) for number in range(3)]
    service, lookup = "_octopull-origin._tcp", f"srv://_octopull-origin._tcp.{ZONE}"
    blobs = [content(2000 + number, number) for number in range(24)]

    def records(*priorities: int | None) -> list[str]:
        return [Dns.service(service, one, priority=priority)
                for one, priority in zip(ring, priorities, strict=True)
                if priority is not None]  # fmt: skip

    zone.dns.serve(records(0, 0, 0))
    told = {"origins": [lookup]}
    async with zone.origin(0, **told) as leaving, zone.origin(1, **told), zone.origin(2, **told):
        cluster = OriginCluster(http, ring, REPLICAS)
        for one in ring:
            await knows(http, one, "origins", *ring)
        for blob in blobs:
            await cluster.uploads.push(NAMESPACE, Digest.of(blob), blob)
        gone = None if way == "out of the zone" else 5
        zone.dns.serve(records(gone, 0, 0))

        async def drained() -> bool:
            for one in ring:
                told = await members_of(http, one)
                if {one.host: one.weight for one in told["origins"]}[leaving.address]:
                    return False
            return not (await left(http, ring[0], ring[1:])).copies

        await until(drained, WITHIN_S)
        assert await owners_hold(http, ring[1:], [Digest.of(blob) for blob in blobs])


async def test_the_drain_command_goes_by_the_zone(http: Http, zone: Zone) -> None:
    ring = [zone.member(0), zone.member(1)]
    zone.name(0, 1)
    async with zone.origin(0), zone.origin(1):
        for one in ring:
            await knows(http, one, "origins", *ring)
        code, words = await drain(zone, zone.lookup)
        assert (code, "has a weight" in words) == (1, True), words
        zone.name(1)

        async def without() -> bool:
            code, words = await drain(zone, zone.lookup)
            assert code == 0 or "has not yet looked it up" in words, words
            return "may be stopped" in words

        await until(without, WITHIN_S)
    zone.dns.stop()
    code, words = await drain(zone, zone.lookup)
    assert (code, "DNS does not say" in words) == (1, True), words


async def drain(zone: Zone, lookup: str) -> tuple[int, str]:
    """The exit code and words of ``octopull origin drain --check`` for the first origin."""
    path = zone.folder / "drain.yaml"
    config = {
        "data": str(zone.folder / "none"), "name": zone.member(0), "origins": [lookup],
        "replicas": REPLICAS, "dns": {"servers": [zone.dns.server], "timeout_s": 2},
    }  # fmt: skip
    path.write_text(yaml.safe_dump({"origin": config}))
    words = ["--config", str(path), "--check"]
    result = await asyncio.to_thread(CliRunner().invoke, drain_command, words)
    assert result.exception is None or isinstance(result.exception, Fault | SystemExit)
    return result.exit_code, f"{result.output}{result.exception}"
