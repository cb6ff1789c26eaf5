"""Blobs through the swarm on real sockets, in one process."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.origin import OriginCluster
from octopull.config.services import PeerSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, TooLarge, Unavailable
from octopull.kernel.peers import Peer, PeerKind
from octopull.runtime.sockets import close
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads
from octopull.swarm.limits import Announces, SwarmLimits
from octopull.swarm.messages import Handshake
from octopull.transport.node import PeerNode
from octopull.transport.seeds import Seeds
from support.cluster import content
from support.fake_peer import FakePeer, announce

MIB = 1 << 20


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 3, Ports(0, "127.0.0.1")) as one:
        yield one


async def push(http: Http, cluster: Cluster, blob: bytes) -> Digest:
    digest = Digest.of(blob)
    await OriginCluster(http, [cluster.origin.address], 1).uploads.push("ns", digest, blob)
    return digest


async def get(http: Http, address: str, digest: Digest, **headers: str) -> bytes:
    url = f"http://{address}/namespace/ns/blobs/{digest}"
    reply = await http.call("GET", url, headers=headers, bytes_max=1 << 30, timeout_s=60)
    return reply.body


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 5 * MIB + 17])
async def test_a_blob_of_any_size_comes_through(http: Http, cluster: Cluster, size: int) -> None:
    blob = content(size, size)
    digest = await push(http, cluster, blob)
    assert await get(http, cluster.agents[0].address, digest) == blob
    assert await get(http, cluster.agents[0].address, digest) == blob


async def test_agents_that_pull_at_once_serve_each_other(http: Http, cluster: Cluster) -> None:
    blob = content(40 * MIB, 1)
    digest = await push(http, cluster, blob)
    bodies = await asyncio.gather(*(get(http, one.address, digest) for one in cluster.agents))
    assert all(body == blob for body in bodies)
    between = 0
    for agent in cluster.agents:
        status = await http.json("GET", f"http://{agent.address}/status", dict)
        assert sum(row["bytes"] for row in status["received"]) == len(blob)
        between += sum(row["bytes"] for row in status["received"] if row["kind"] == "agent")
    assert between > 0


async def test_ranges_come_before_the_whole_is_there(http: Http, cluster: Cluster) -> None:
    blob = content(12 * MIB, 2)
    digest = await push(http, cluster, blob)
    address = cluster.agents[0].address
    spans = [(0, 1), (5 * MIB - 3, 6 * MIB), (11 * MIB, 12 * MIB - 1)]
    parts = await asyncio.gather(
        *(get(http, address, digest, Range=f"bytes={a}-{b}") for a, b in spans)
    )
    assert parts == [blob[a : b + 1] for a, b in spans]


async def test_what_nobody_has_is_not_found_and_not_down(http: Http, cluster: Cluster) -> None:
    with pytest.raises(NotFound):
        await get(http, cluster.agents[0].address, Digest.of(b"never pushed"))


async def test_an_origin_that_is_down_is_no_404(http: Http, tmp_path: Path) -> None:
    from octopull.config.services import AgentConfig
    from octopull.http.serving import Listening
    from octopull.services.agent.app import run

    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    nobody = ["127.0.0.1:1"]
    config = AgentConfig(
        data=str(tmp_path), trackers=nobody, tag_indexes=nobody, metainfo_wait_s=0.1
    )
    started: asyncio.Future[Listening] = ready
    task = asyncio.create_task(run(config, started.set_result, stop))
    listening = await started
    with pytest.raises(Unavailable):
        await get(http, listening.address, Digest.of(b"x"))
    stop.set()
    await task


async def test_a_liar_is_banned_and_nothing_wrong_reaches_client_or_disk(
    http: Http, cluster: Cluster, tmp_path: Path
) -> None:
    blob = content(8 * MIB, 3)
    digest = await push(http, cluster, blob)
    origins = OriginCluster(http, [cluster.origin.address], 1)
    metainfo = await origins.metainfo("ns", digest)
    async with FakePeer(metainfo) as liar:
        await announce(http, cluster.tracker.address, metainfo, liar.peer)
        assert await get(http, cluster.agents[0].address, digest) == blob
        assert liar.lies > 0
        assert liar.connections == 1
    cache = tmp_path / "agent-1" / "blobs"
    cached: list[Path] = []
    for _ in range(1000):
        # The client has its last byte once it is proven, which is before the disk has it.
        cached = list(cache.rglob(digest.hex))
        if cached:
            break
        await asyncio.sleep(0.01)
    assert [path.read_bytes() for path in cached] == [blob]


async def test_garbage_on_the_peer_port_leaves_the_service_alive(
    http: Http, cluster: Cluster
) -> None:
    agent = cluster.agents[0]
    for noise in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 5000,
        b"",
        b"\x00\x00\x00\x05\x01\x00\x00\x00\x00",
    ):
        reader, writer = await asyncio.open_connection(agent.host, agent.peer_port)
        writer.write(noise)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
    blob = content(1000, 4)
    assert await get(http, agent.address, await push(http, cluster, blob)) == blob


async def test_a_client_that_leaves_does_not_end_the_download_of_others(
    http: Http, cluster: Cluster
) -> None:
    blob = content(20 * MIB, 5)
    digest = await push(http, cluster, blob)
    address = cluster.agents[0].address
    with pytest.raises((TooLarge, Unavailable)):
        url = f"http://{address}/namespace/ns/blobs/{digest}"
        await http.call("GET", url, bytes_max=10, timeout_s=30)
    assert await get(http, address, digest) == blob


async def test_tags_and_health_of_an_agent(http: Http, cluster: Cluster) -> None:
    address = cluster.agents[0].address
    with pytest.raises(NotFound):
        await http.call("GET", f"http://{address}/tags/a%2Fb:v1")
    for path in ("health", "readiness", "metrics"):
        for one in (
            cluster.proxy,
            cluster.tag_index,
            cluster.tracker,
            cluster.origin,
            *cluster.agents,
        ):
            assert (await http.call("GET", f"http://{one.address}/{path}")).status == 200
    text = (await http.call("GET", f"http://{address}/metrics")).body.decode()
    assert "octopull_pieces_verified_total" in text


async def test_data_survives_a_restart_of_everything(http: Http, tmp_path: Path) -> None:
    blob = content(3 * MIB, 6)
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as cluster:
        digest = await push(http, cluster, blob)
    shutil.rmtree(tmp_path / "agent-1")
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as cluster:
        assert await get(http, cluster.agents[0].address, digest) == blob
        assert json.dumps(cluster.document())


async def test_peers_with_hosts_that_no_resolver_takes_do_not_stop_a_pull(
    http: Http, cluster: Cluster
) -> None:
    blob = content(MIB, 7)
    digest = await push(http, cluster, blob)
    metainfo = await OriginCluster(http, [cluster.origin.address], 1).metainfo("ns", digest)
    for number in range(40):
        host = "a..b" if number % 2 else "x" * 64 + ".example"
        stranger = Peer(id=f"{number:040x}", host=host, port=1)
        await announce(http, cluster.tracker.address, metainfo, stranger)
    assert await get(http, cluster.agents[0].address, digest) == blob


async def test_a_host_that_takes_no_bytes_does_not_hold_an_upload_for_ever(http: Http) -> None:
    over = asyncio.Event()

    async def never_read(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)

    server = await asyncio.start_server(never_read, "127.0.0.1", 0, limit=1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable):
            async with http.stream("PUT", url, data=endless(), idle_s=0.3):
                pass
    over.set()
    await close(server)
    await server.wait_closed()


async def test_a_handshake_that_times_out_leaves_no_half_opened_seed(tmp_path: Path) -> None:
    store, blob = DiskStore(tmp_path), content(20 * MIB, 8)
    uploads, digest = Uploads(store), Digest.of(blob)
    session = uploads.start()
    uploads.append(session, 0, blob)
    uploads.commit(session, digest)
    store.path(digest).with_name(f"{digest.hex}.meta").unlink()  # opening takes a while now
    seeds = Seeds(store, SwarmLimits(announces=Announces.NO))

    async def nobody(_: Handshake) -> None:
        return None

    settings = PeerSettings()
    async with PeerNode(settings, "a" * 40, PeerKind.ORIGIN, nobody, None) as node:
        hasty = [asyncio.create_task(seeds.open(node, digest, "ns")) for _ in range(2)]
        await asyncio.sleep(0)
        hasty[0].cancel()
        await asyncio.wait([hasty[0]])
        patient = await seeds.open(node, digest, "ns")
        assert await hasty[1] is patient
        assert seeds.swarms() == [patient]
        seeds.close_all()
    store.delete(digest)
