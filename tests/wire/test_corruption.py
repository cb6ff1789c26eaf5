"""Bytes are corrupted at each hop of a pull: a client gets a beginning of the right ones, or nothing.

Some hops have tests of their own, among others of the same thing; ``ELSEWHERE`` names them.
"""

import ast
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from octopull.blob import start
from octopull.blob.metainfo import Metainfo
from octopull.blob.start import Inline, Sealed, Start, plain
from octopull.clients import starts
from octopull.clients.binding import UNBOUND, Binding
from octopull.clients.origin import OriginCluster
from octopull.clients.tracker import TrackerClient
from octopull.config.services import (
    AgentConfig,
    Listen,
    OriginConfig,
    RepairSettings,
    TrackerConfig,
)
from octopull.config.tls import ClusterTls, Seals
from octopull.http.client import Http, among_services
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.observability import metrics
from octopull.security.roles import Role
from octopull.services.agent.app import run as run_agent
from octopull.services.origin.app import run as run_origin
from octopull.services.tracker.app import run as run_tracker
from octopull.services.tracker.growing import Growths
from octopull.services.tracker.sources import MetainfoCache
from support.attacks import LIES, SIZE, attack
from support.authorities import DAY
from support.cluster import content
from support.fake_peer import announce
from support.lying import FlippingRelay, LyingTracker, lie, seeding, tracking
from support.origins import origin
from support.ports import free_port, free_ports
from support.secure_site import NOBODY, Site, received, secure_site
from support.services import started

ELSEWHERE = {
    "a peer": "wire/test_pull.py::test_a_liar_is_banned_and_nothing_wrong_reaches_client_or_disk",
    "an agent's disk": "wire/test_memory_tier.py::test_a_large_copy_that_the_disk_of_an_agent_has_damaged_is_fetched_anew",
    "an agent's disk, of a small blob": "wire/test_memory_tier.py::test_a_copy_that_the_disk_of_an_agent_has_damaged_is_fetched_anew",
    "an agent's disk, of half a blob": "unit/storage/test_storage.py::test_after_a_restart_only_pieces_that_prove_again_are_trusted",
    "an agent's disk, metainfo of half a blob": "unit/storage/test_storage.py::test_other_metainfo_starts_the_partial_anew",
    "an origin's disk": "wire/test_ring.py::test_what_the_first_owners_disk_has_damaged_comes_from_the_next",
    "an origin's disk, at rest": "wire/test_repair.py::test_what_a_disk_damaged_is_found_and_made_again",
    "memory": "unit/storage/test_hot.py::test_bytes_that_the_disk_has_damaged_are_corrupt_and_stay_out",
    "a backend": "wire/test_wrong_bytes.py::test_other_bytes_in_the_store_become_no_blob",
    "the way from a backend": "wire/test_wrong_bytes.py::test_bytes_spoiled_on_the_way_become_no_blob",
    "metainfo beside a blob": "wire/test_wrong_bytes.py::test_metainfo_that_agrees_with_other_bytes_makes_them_no_blob",
    "a backend, while it is given on": "wire/test_cold_pull.py::test_a_wrong_end_is_given_to_nobody",
    "metainfo on a disk": "unit/storage/test_proofs.py::test_lost_or_wrong_metainfo_does_not_cost_the_blob",
}  # fmt: skip


@pytest.mark.parametrize("hop", ELSEWHERE)
def test_what_is_tested_elsewhere_is_there(hop: str) -> None:
    path, _, name = ELSEWHERE[hop].partition("::")
    tree = ast.parse(Path(__file__).parents[1].joinpath(path).read_text())
    assert name in {getattr(one, "name", "") for one in ast.walk(tree)}


@pytest.fixture
async def site(http: Http, tmp_path: Path) -> AsyncIterator[Site]:
    async with secure_site(http, tmp_path) as one:
        yield one


# The wire between peers.


async def test_a_bit_that_is_flipped_between_peers_reaches_no_client(
    http: Http, tmp_path: Path
) -> None:
    blob = content(8_000_000, 1)
    digest, (port,) = Digest.of(blob), free_ports(1)
    name = f"127.0.0.1:{port}"
    refused = metrics.PIECES_REFUSED._value.get()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(origin(tmp_path, name, [name], 1))
        await OriginCluster(http, [name], 1).uploads.push("ns", digest, blob)
        tracker = await enter(
            started(run_tracker, TrackerConfig(origins=[name], replicas=1, listen=Listen(port=0)))
        )
        metainfo = lie(digest, blob)
        peer = await enter(seeding(tmp_path / "peer", metainfo, blob, None))
        relay = await enter(FlippingRelay(peer.me.port, at=100_000))
        behind = replace(peer.me, port=int(relay.address.rpartition(":")[2]))
        await announce(http, tracker.address, metainfo, behind)
        config = AgentConfig(
            data=str(tmp_path / "agent"), trackers=[tracker.address], tag_indexes=[NOBODY]
        )
        agent = await enter(started(run_agent, config))
        got = await received(http, f"{agent.url}/namespace/ns/blobs/{digest}")
    assert relay.flipped
    assert metrics.PIECES_REFUSED._value.get() > refused
    assert got == (blob, "")


# The disk of an origin, whose peers prove what it sends.


async def test_a_piece_that_an_origins_disk_has_damaged_comes_from_another(
    http: Http, tmp_path: Path
) -> None:
    blob, ring = content(SIZE, 2), [f"127.0.0.1:{port}" for port in free_ports(2)]
    digest = Digest.of(blob)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        for name in ring:
            await enter(origin(tmp_path, name, ring, 2, repair=RepairSettings(every_s=0)))
        await OriginCluster(http, ring, 2).uploads.push("ns", digest, blob)
        (copy,) = (tmp_path / ring[0]).rglob(f"blobs/*/*/{digest.hex}")
        with copy.open("r+b") as file:
            file.write(bytes(300_000))
        config = TrackerConfig(origins=ring, replicas=2, listen=Listen(port=0))
        tracker = await enter(started(run_tracker, config))
        at = AgentConfig(
            data=str(tmp_path / "agent"), trackers=[tracker.address], tag_indexes=[NOBODY]
        )
        agent = await enter(started(run_agent, at))
        assert await received(http, f"{agent.url}/namespace/ns/blobs/{digest}") == (blob, "")


# Metainfo that a tracker puts in place of the origin's, and a peer whose bytes agree with it.


@pytest.mark.parametrize("how", LIES)
async def test_metainfo_of_a_lying_tracker_is_not_believed_and_the_next_one_is_asked(
    site: Site, how: str
) -> None:
    before = metrics.METAINFO_REFUSED._value.get()
    async with attack(site, how) as one, site.agent(*one.line) as where:
        with structlog.testing.capture_logs() as lines:
            assert await received(site.http, where(one.digest)) == (one.blob, "")
    assert one.liar.lies
    assert metrics.METAINFO_REFUSED._value.get() > before
    (told,) = [line for line in lines if line["event"] == "metainfo.refused"]
    assert (told["host"], told["log_level"]) == (one.liar.address, "error")


async def test_if_all_trackers_lie_a_client_gets_nothing_and_is_told_why(site: Site) -> None:
    async with (
        attack(site, "sealed by a tracker") as one,
        site.agent(one.liar.address) as where,
    ):
        assert await received(site.http, where(one.digest)) == (b"", UNBOUND)


async def test_where_seals_are_ignored_wrong_bytes_are_streamed_but_never_a_whole_blob(
    site: Site,
) -> None:
    async with (
        attack(site, "without a seal") as one,
        site.agent(one.liar.address, sealing=Seals.IGNORED) as where,
    ):
        got, why = await received(site.http, where(one.digest))
    assert why
    assert 0 < len(got) < SIZE
    assert one.wrong.startswith(got)


async def test_a_changed_bit_in_the_seal_of_right_metainfo_costs_the_tracker_its_word(
    site: Site,
) -> None:
    async with attack(site, "without a seal") as one:
        right = await site.sealed(one.digest)
        spoiled = bytearray(right.seal)
        spoiled[10] ^= 1
        assert isinstance(right.described, Metainfo)
        one.liar.metainfo = right.described
        one.liar.tell = lambda told: Sealed(told, bytes(spoiled))
        async with site.agent(*one.line) as where:
            assert await received(site.http, where(one.digest)) == (one.blob, "")
        async with site.agent(one.liar.address) as where:
            # It is on the agent's disk by now, and needs nobody's word.
            assert await received(site.http, where(one.digest)) == (one.blob, "")
        assert one.liar.lies


async def test_who_lied_is_asked_last_from_then_on(site: Site) -> None:
    agent = site.authority.files(Role.AGENT)
    async with (
        attack(site, "sealed by a tracker") as one,
        among_services(Role.AGENT, agent) as (tls, http),
    ):
        client = TrackerClient(http.to(Role.TRACKER), one.line, Binding(tls))
        # An answer came, so it is not away; but there is nothing in it that counts.
        assert await client.starts("ns", [one.digest]) == []
        for _ in range(2):
            assert await client.starts("ns", [one.digest]) == [lie(one.digest, one.blob)]
        assert one.liar.lies == 1


async def test_hashes_that_a_tracker_tells_of_a_blob_on_its_way_are_bound_too(site: Site) -> None:
    agent = site.authority.files(Role.AGENT)
    async with attack(site, "sealed by a tracker") as one:
        async with among_services(Role.AGENT, agent) as (tls, http):
            client = TrackerClient(http.to(Role.TRACKER), one.line, Binding(tls))
            (part,), _ = await client.hashes("ns", one.digest, 2)
        assert one.liar.lies
    assert part.piece_hashes == lie(one.digest, one.blob).piece_hashes[part.first :]
    assert part.first <= 2 < part.known


# Small blobs, which come whole.


async def test_other_bytes_of_a_small_blob_are_not_believed(site: Site) -> None:
    blob = b"a small blob"
    wrong = Inline(await site.push(blob), b"other bytes")
    liar = LyingTracker(lie(wrong.digest, wrong.content), lambda told: told, wrong)
    async with tracking(liar, site.authority.files(Role.TRACKER, name="first")):
        line = [liar.address, site.tracker.address]
        async with site.agent(*line) as where:
            for _ in range(2):
                assert await received(site.http, where(wrong.digest)) == (blob, "")
    async with tracking(liar, site.authority.files(Role.TRACKER, name="first")):
        site_without = replace(site, folder=site.folder / "empty")
        async with site_without.agent(liar.address) as where:
            got, why = await received(site.http, where(wrong.digest))
            assert (got, bool(why)) == (b"", True)
        assert liar.lies


# Certificates that end.


async def test_a_tracker_passes_a_seal_on_no_longer_than_its_certificate_lasts(
    site: Site,
) -> None:
    folder, port, blob = site.folder / "other", free_port(), content(SIZE, 3)
    digest, later_s = Digest.of(blob), 0.0

    def config(files: ClusterTls) -> OriginConfig:
        return OriginConfig(data=str(folder), listen=Listen(port=port), replicas=1, tls=files)

    def now_s() -> float:
        return time.time() + later_s

    async def told() -> list[Start]:
        """By a tracker: of one blob, as of many, and its hashes; nothing if it can't tell."""
        known = await cache.starts("ns", [digest])
        with suppress(Unavailable):
            known.append(await cache.get("ns", digest))
        with suppress(Unavailable):
            known += map(start.encode, (await growths.of("ns", digest, 0)).behind(0))
        return start.decode(b"".join(known))

    async def pushed(life: timedelta) -> list[Start]:
        """What the tracker says while an origin is up whose certificate lasts so long."""
        files = site.authority.files(Role.ORIGIN, name=f"for-{life.days}", life=life)
        async with started(run_origin, config(files)) as one:
            await replace(site, origin=one).push(blob)
            return await told()

    async with among_services(Role.TRACKER, site.authority.files(Role.TRACKER)) as (tls, http):
        origins = OriginCluster(http.to(Role.ORIGIN), [f"127.0.0.1:{port}"], 1)
        binding = Binding(tls, now_s)
        cache, growths = MetainfoCache(origins, 1 << 20, binding=binding), Growths(origins, binding)
        first = await pushed(DAY)
        assert [plain(one) for one in first[:2]] == [lie(digest, blob)] * 2
        assert len(first) == 3
        # While origins are silent, it counts on; but not for ever.
        assert await told() == first
        later_s = 2 * DAY.total_seconds()
        assert await told() == []
        second = await pushed(3 * DAY)
        assert [plain(one) for one in second] == [plain(one) for one in first]
        assert not set(map(seal_of, first)) & set(map(seal_of, second))
        assert await told() == second


def seal_of(one: Start) -> bytes:
    assert isinstance(one, Sealed)
    return one.seal


async def test_services_without_seals_and_with_them_understand_each_other(site: Site) -> None:
    """As in an upgrade: who does not ask for seals gets none, and who asks in vain is told."""
    blob = content(SIZE, 4)
    digest = await site.push(blob)
    async with among_services(Role.AGENT, site.authority.files(Role.AGENT)) as (_, http):
        url = f"https://{site.tracker.address}/namespace/ns/blobs/{digest}"
        unasked = await http.to(Role.TRACKER).bytes("GET", f"{url}/metainfo", bytes_max=1 << 20)
        assert unasked == start.encode(lie(digest, blob))
        hashes = await http.to(Role.TRACKER).bytes("GET", f"{url}/hashes", bytes_max=1 << 20)
        assert starts.read_hashes(hashes, digest)
    silent = replace(site.authority.files(Role.ORIGIN), seals=Seals.IGNORED)
    config = OriginConfig(
        data=str(site.folder / "older"), listen=Listen(port=0), replicas=1, tls=silent
    )
    async with started(run_origin, config) as older:
        at_tracker = TrackerConfig(
            origins=[older.address], replicas=1, listen=Listen(port=0),
            tls=site.authority.files(Role.TRACKER),
        )  # fmt: skip
        async with started(run_tracker, at_tracker) as tracker:
            here = replace(site, origin=older, tracker=tracker)
            await here.push(blob)
            async with here.agent(tracker.address) as where:
                assert await received(site.http, where(digest)) == (b"", UNBOUND)
            async with here.agent(tracker.address, sealing=Seals.IGNORED) as where:
                assert await received(site.http, where(digest)) == (blob, "")
