"""A blob that only a backend has reaches agents while it is still coming, and never a wrong one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from octopull.blob.metainfo import Growing
from octopull.blob.start import Sealed
from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.own_certificates import OwnCertificates
from octopull.clients import starts
from octopull.config.services import Listen, OriginConfig
from octopull.config.upstreams import UpstreamSettings
from octopull.http.client import Http, among_services
from octopull.kernel.digest import Digest
from octopull.observability import metrics
from octopull.security.roles import Role
from octopull.services.origin.app import run as run_origin
from support.cluster import content
from support.ports import free_port
from support.registry import Registry, digest_of
from support.services import started
from support.upstream import Front, front

NAMESPACE = "up.example/team/model"
BLOB = content(5_000_000, 21)
"""Twenty pieces."""

PIECE = 256 * 1024
HALF = 10 * PIECE
EARLY = HALF // PIECE - 2
"""Pieces of the first half that are here for sure: the rest may be in memory still."""
PATH = f"/v2/{NAMESPACE}/blobs/{digest_of(BLOB)}"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


@pytest.fixture
async def upstream(tmp_path: Path, session: aiohttp.ClientSession) -> AsyncIterator[Front]:
    async with (
        running(tmp_path / "upstream", 0, Ports(0, "127.0.0.1")) as cluster,
        front(cluster.proxy.address) as one,
    ):
        await Registry(session, cluster.proxy.address).push_blob(BLOB, "team/model")
        one.hold, one.hold_bytes = asyncio.Event(), HALF
        yield one


@asynccontextmanager
async def through(folder: Path, upstream: Front, agents: int) -> AsyncIterator[Cluster]:
    settings = UpstreamSettings(name="up.example", url=upstream.url, timeout_s=20)
    async with running(folder / "cluster", agents, Ports(0, "127.0.0.1"), [settings]) as one:
        yield one


@asynccontextmanager
async def pulls(
    session: aiohttp.ClientSession, addresses: list[str]
) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    """The same blob asked of each address, its body still to be read."""
    async with AsyncExitStack() as stack:

        async def ask(address: str) -> aiohttp.ClientResponse:
            return await stack.enter_async_context(session.get(f"http://{address}{PATH}"))

        yield await asyncio.gather(*map(ask, addresses))


async def here(http: Http, url: str) -> int:
    """Pieces of the blob at ``url`` that its origin has by now."""
    body = await http.bytes("GET", f"{url}/hashes?first=0", bytes_max=1 << 20)
    return Growing.decode(body).known


async def test_agents_and_proxy_have_the_first_half_before_the_backend_sends_the_second(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream, 3) as cluster:
        addresses = [cluster.proxy.address, *(agent.address for agent in cluster.agents)]
        async with pulls(session, addresses) as answers:
            for answer in answers:
                early = await answer.content.readexactly(EARLY * PIECE)
                assert early == BLOB[: len(early)]
            assert upstream.hold is not None
            upstream.hold.set()
            for answer in answers:
                assert await answer.content.read() == BLOB[EARLY * PIECE :]
        assert upstream.count("GET", digest_of(BLOB)) == 1


async def test_who_comes_late_finds_the_swarm_of_those_who_came_early(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path, http: Http
) -> None:
    async with through(tmp_path, upstream, 2) as cluster:
        first, second = (agent.address for agent in cluster.agents)
        async with pulls(session, [first]) as (answer,):
            await answer.content.readexactly(PIECE)
            assert upstream.hold is not None
            upstream.hold.set()
            await answer.content.read()
        async with pulls(session, [second]) as (answer,):
            assert await answer.read() == BLOB
        told = await http.json("GET", f"http://{second}/status", dict[str, object])
        (blob,) = [one for one in told["blobs"] if one["digest"] == digest_of(BLOB)]  # type: ignore[attr-defined]
        assert blob["size"] == len(BLOB)
        metainfo = [
            await http.bytes(
                "GET", f"http://{host}/namespace/{NAMESPACE}/blobs/{digest_of(BLOB)}/metainfo",
                bytes_max=1 << 20,
            )
            for host in (cluster.origin.address, cluster.tracker.address)
        ]  # fmt: skip
        assert metainfo[0] == metainfo[1]


async def test_with_tls_what_an_origin_tells_of_a_blob_that_is_coming_is_sealed(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    own = OwnCertificates(tmp_path / "tls", "127.0.0.1")
    own.make()
    settings = UpstreamSettings(name="up.example", url=upstream.url, timeout_s=20)
    ports, refused = Ports(0, "127.0.0.1"), metrics.METAINFO_REFUSED._value.get()
    async with running(tmp_path / "one", 1, ports, [settings], certificates=own) as cluster:
        url, agents = f"{cluster.agents[0].url}{PATH}", own.of(Role.AGENT)
        async with (
            among_services(Role.OPERATOR, own.of(Role.OPERATOR)) as (_, client),
            among_services(Role.AGENT, agents) as (_, agent),
            client.stream("GET", url) as answer,
        ):
            got = await answer.content.readexactly(PIECE)
            trackers, host = agent.to(Role.TRACKER), cluster.tracker.address
            told = await starts.describe(trackers, host, NAMESPACE, Digest.of(BLOB))
            assert isinstance(told, Sealed)
            assert isinstance(told.described, Growing)
            assert upstream.hold is not None
            upstream.hold.set()
            assert got + await answer.content.read() == BLOB
    assert metrics.METAINFO_REFUSED._value.get() == refused


async def test_a_wrong_end_is_given_to_nobody(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream, 2) as cluster:
        addresses = [cluster.proxy.address, *(agent.address for agent in cluster.agents)]
        async with pulls(session, addresses) as answers:
            for answer in answers:
                await answer.content.readexactly(PIECE)
            upstream.wrong_end = True
            assert upstream.hold is not None
            upstream.hold.set()
            for answer in answers:
                got = bytearray()
                with pytest.raises(aiohttp.ClientPayloadError):
                    while chunk := await answer.content.readany():
                        got += chunk
                assert len(got) < len(BLOB) - PIECE
        for folder in tmp_path.joinpath("cluster").iterdir():
            assert not list(folder.rglob(f"blobs/sha256/??/{Digest.of(BLOB).hex}"))
        assert not list((tmp_path / "cluster/origin/uploads").iterdir())
        upstream.wrong_end = False
        for address in addresses[1:]:
            # A failure is the answer for some seconds.
            async with asyncio.timeout(30):
                while (told := await Registry(session, address)("GET", PATH)).status != 200:
                    pass
            assert told.body == BLOB


async def test_a_fetch_goes_on_where_it_stopped_after_the_origin_was_restarted(
    upstream: Front, http: Http, tmp_path: Path
) -> None:
    port = free_port()
    config = OriginConfig(
        data=str(tmp_path / "origin"), listen=Listen(port=port), replicas=1,
        upstreams=[UpstreamSettings(name="up.example", url=upstream.url)],
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/namespace/{NAMESPACE}/blobs/{digest_of(BLOB)}"
    async with started(run_origin, config):
        await http.call("POST", f"{url}/fetch?wait_s=9")
        async with asyncio.timeout(30):
            while await here(http, url) < EARLY:
                pass
    (left,) = (tmp_path / "origin/uploads").iterdir()
    before = left.stat().st_size
    assert upstream.hold is not None
    upstream.hold.set()
    async with started(run_origin, config):
        await http.call("POST", f"{url}/fetch?wait_s=9&whole=1")
        assert await http.bytes("GET", url, bytes_max=len(BLOB)) == BLOB
    ranges = [
        one.headers.get("Range")
        for one in upstream.asked
        if one.method == "GET" and digest_of(BLOB) in one.path
    ]
    assert ranges == [None, f"bytes={before}-"]
