"""Images of an upstream, pulled through a cluster: once, proven, and even when it is away."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import structlog

from octopull.cli.cluster import Cluster, Ports, running
from octopull.clients.fetching import Progress
from octopull.clients.origin import OriginCluster
from octopull.config.services import Listen, OriginConfig
from octopull.config.upstreams import UpstreamSettings
from octopull.http import serving
from octopull.http.client import Http
from octopull.http.serving import Listening
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound
from octopull.services.origin.app import run as run_origin
from support.cluster import OCTOPULL, content, up
from support.ports import free_port, free_ports
from support.registry import Answer, Registry, digest_of, index, manifest
from support.upstream import PASSWORD, USER, Front, front

HUB = "docker.io"
LAYER = content(3_000_000, 11)
IMAGE = manifest(b"{}", LAYER)
NEWER = manifest(b"{}", LAYER, annotations={"version": "2"})
AGENTS = 4
WARNING = '299 - "Response is Stale"'


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


@pytest.fixture
async def home(tmp_path: Path, session: aiohttp.ClientSession) -> AsyncIterator[Registry]:
    """The real registry of the upstream."""
    async with running(tmp_path / "upstream", 0, Ports(0, "127.0.0.1")) as cluster:
        registry = Registry(session, cluster.proxy.address)
        await registry.push_blob(b"{}", "library/app")
        await registry.push_blob(LAYER, "library/app")
        assert (await registry.push_manifest("library/app", "v1", IMAGE)).status == 201
        yield registry


@pytest.fixture
async def upstream(home: Registry) -> AsyncIterator[Front]:
    async with front(home.address) as one:
        yield one


@asynccontextmanager
async def through(
    folder: Path, upstream: Front, agents: int = 1, tag_ttl_s: float = 0.0, credentials: str = ""
) -> AsyncIterator[Cluster]:
    settings = UpstreamSettings(
        name=HUB, url=upstream.url, tag_ttl_s=tag_ttl_s, timeout_s=5, credentials=credentials
    )
    async with running(folder / "cluster", agents, Ports(0, "127.0.0.1"), [settings]) as one:
        yield one


def doors(cluster: Cluster, session: aiohttp.ClientSession) -> list[Registry]:
    addresses = [cluster.proxy.address, *(agent.address for agent in cluster.agents)]
    return [Registry(session, address) for address in addresses]


async def pull(door: Registry, prefix: str = "/v2/docker.io/library/app", ns: str = "") -> None:
    """A whole image, as runtimes ask for it."""
    told = await door("GET", f"{prefix}/manifests/v1{ns}")
    assert (told.status, told.body) == (200, IMAGE), told
    assert told.headers["Docker-Content-Digest"] == digest_of(IMAGE)
    blobs = [door("GET", f"{prefix}/blobs/{digest_of(one)}{ns}") for one in (b"{}", LAYER)]
    assert [one.body for one in await asyncio.gather(*blobs)] == [b"{}", LAYER]
    told = await door("HEAD", f"{prefix}/blobs/{digest_of(LAYER)}{ns}")
    assert told.headers["Content-Length"] == str(len(LAYER))


def files(folder: Path, digest: Digest) -> list[Path]:
    return list((folder / "cluster").rglob(digest.hex))


async def test_however_many_pull_at_once_everything_leaves_the_upstream_once(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream, AGENTS, tag_ttl_s=60) as cluster:
        await asyncio.gather(*(pull(door) for door in doors(cluster, session)))
        for blob in (b"{}", LAYER):
            assert upstream.count("GET", f"/blobs/{digest_of(blob)}") == 1
        assert upstream.count("GET", "/manifests/") == 1
        assert upstream.count("HEAD", "/manifests/v1") == 1


async def test_the_upstream_is_named_by_ns_or_prefix_and_library_may_be_left_out(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster:
        for door in doors(cluster, session):
            await pull(door)
            await pull(door, "/v2/docker.io/app")
            await pull(door, "/v2/library/app", f"?ns={HUB}")
            await pull(door, "/v2/app", f"?ns={HUB}")
            for other in ("/v2/library/app/manifests/v1", "/v2/app/manifests/v1?ns=quay.io"):
                assert (await door("GET", other)).status == 404
        listed = await door("GET", "/v2/docker.io/app/tags/list")
        assert listed.json == {"name": "docker.io/library/app", "tags": ["v1"]}


async def test_what_is_not_there_is_not_found_and_nothing_is_pushed(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster:
        proxy, agent = doors(cluster, session)
        absent = digest_of(b"absent")
        for door in (proxy, agent):
            for path, code in ((f"blobs/{absent}", "BLOB_UNKNOWN"),
                               (f"manifests/{absent}", "MANIFEST_UNKNOWN"),
                               ("manifests/v9", "MANIFEST_UNKNOWN")):  # fmt: skip
                gone = await door("GET", f"/v2/docker.io/app/{path}")
                assert (gone.status, gone.code) == (404, code)
        asked = len(upstream.asked)
        for path in ("/v2/docker.io/app", "/v2/app"):
            for method, what in (("POST", "blobs/uploads/"), ("PUT", "manifests/v1"),
                                 ("DELETE", "manifests/v1"), ("DELETE", f"blobs/{absent}")):  # fmt: skip
                refused = await proxy(method, f"{path}/{what}?ns={HUB}", IMAGE)
                assert (refused.status, refused.code) == (405, "UNSUPPORTED")
                assert "can only be pulled" in refused.json["errors"][0]["message"]
        assert len(upstream.asked) == asked
        assert await proxy.push_blob(b"its own", "app")


async def test_only_what_is_asked_for_is_fetched_of_an_index(
    home: Registry, upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    listed = index(IMAGE, NEWER)
    assert (await home.push_manifest("library/app", digest_of(NEWER), NEWER)).status == 201
    assert (await home.push_manifest("library/app", "all", listed)).status == 201
    async with through(tmp_path, upstream) as cluster:
        _, agent = doors(cluster, session)
        told = await agent("GET", "/v2/docker.io/app/manifests/all")
        assert told.body == listed
        child = await agent("GET", f"/v2/docker.io/app/manifests/{digest_of(NEWER)}")
        assert (child.status, child.body) == (200, NEWER)
        assert upstream.count("GET", f"/manifests/{digest_of(IMAGE)}") == 0
        assert upstream.count("GET", f"/blobs/{digest_of(LAYER)}") == 0


async def test_a_moved_tag_is_seen_and_one_within_its_time_is_not_looked_up(
    home: Registry, upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    path = "/v2/docker.io/app/manifests/v1"
    async with through(tmp_path / "now", upstream) as cluster:
        _, agent = doors(cluster, session)
        async with through(tmp_path / "later", upstream, tag_ttl_s=3600) as other:
            _, patient = doors(other, session)
            assert (await agent("GET", path)).body == IMAGE
            assert (await patient("GET", path)).body == IMAGE
            assert (await home.push_manifest("library/app", "v1", NEWER)).status == 201
            assert (await agent("GET", path)).body == NEWER
            asked = len(upstream.asked)
            assert (await patient("GET", path)).body == IMAGE
            assert len(upstream.asked) == asked
        assert (await home("DELETE", "/v2/library/app/manifests/v1")).status == 202
        assert (await agent("GET", path)).status == 404
        upstream.down = True
        assert (await agent("GET", path)).status == 503


async def test_while_the_upstream_is_away_its_images_are_served_with_a_warning(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster:
        for door in doors(cluster, session):
            await pull(door)
            assert "Warning" not in (await door("GET", "/v2/docker.io/app/manifests/v1")).headers
        upstream.down = True
        for door in doors(cluster, session):
            for method in ("GET", "HEAD"):
                told = await door(method, "/v2/docker.io/app/manifests/v1")
                assert (told.status, told.headers.get("Warning")) == (200, WARNING)
            await pull(door)
            unseen = await door("GET", "/v2/docker.io/app/manifests/v2")
            assert (unseen.status, unseen.code) == (503, "UNAVAILABLE")
        upstream.down = False
        assert "Warning" not in (await door("GET", "/v2/docker.io/app/manifests/v1")).headers


async def test_a_fetch_resumes_where_it_broke_and_tokens_are_renewed(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    upstream.tokens, upstream.cut_bytes, upstream.cuts = True, 1_000_000, 2
    async with through(tmp_path, upstream) as cluster:
        await pull(doors(cluster, session)[1])
        got = [one for one in upstream.asked if one.method == "GET"]
        layer = [one for one in got if digest_of(LAYER) in one.path]
        assert [one.headers.get("Range") for one in layer] == [
            None, "bytes=1000000-", "bytes=2000000-",
        ]  # fmt: skip
        upstream.revoke()
        given = upstream.given
        await pull(doors(cluster, session)[0])
        assert upstream.given == given + 1


async def test_what_is_no_manifest_is_not_served(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster:
        for number, door in enumerate(doors(cluster, session)):
            upstream.old = True
            old = await door("GET", f"/v2/docker.io/app/manifests/old{number}")
            assert (old.status, "schema 1" in old.json["errors"][0]["message"]) == (502, True)
            upstream.old = False


async def test_a_blob_that_only_the_upstream_has_can_be_asked_for_by_head_and_mounted(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster:
        proxy, agent = doors(cluster, session)
        for door, blob in ((proxy, LAYER), (agent, b"{}")):
            told = await door("HEAD", f"/v2/docker.io/library/app/blobs/{digest_of(blob)}")
            assert (told.status, told.headers["Content-Length"]) == (200, str(len(blob)))
        mount = f"mount={digest_of(LAYER)}&from=docker.io/library/app"
        assert (await proxy("POST", f"/v2/own/blobs/uploads/?{mount}")).status == 201
        assert (await agent("GET", f"/v2/own/blobs/{digest_of(LAYER)}")).body == LAYER


async def test_wrong_bytes_are_never_stored(
    home: Registry, upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster:
        told = await doors(cluster, session)[1]("GET", "/v2/docker.io/app/manifests/v1")
        assert told.body == IMAGE
        assert (await home.push_manifest("library/app", "v2", NEWER)).status == 201
        upstream.lies = True
        for door in doors(cluster, session):
            # Refused, or cut short of its last byte.
            with contextlib.suppress(aiohttp.ClientPayloadError):
                told = await door("GET", f"/v2/docker.io/app/blobs/{digest_of(LAYER)}")
                assert told.status == 502
        assert not files(tmp_path, Digest.of(LAYER))
        assert not list((tmp_path / "cluster/origin/uploads").iterdir())
        assert (await door("GET", "/v2/docker.io/app/manifests/v2")).status == 502
        assert not files(tmp_path, Digest.of(NEWER))


async def test_credentials_reach_neither_logs_nor_clients(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    upstream.tokens = upstream.private = True
    path = tmp_path / "secret"
    path.write_text(f"{USER}:{PASSWORD}")
    answers: list[Answer] = []
    with structlog.testing.capture_logs() as lines:
        async with through(tmp_path, upstream, credentials=str(path)) as cluster:
            proxy, agent = doors(cluster, session)
            await pull(agent)
            upstream.valid.clear()
            path.write_text(f"{USER}:{PASSWORD}-changed")
            for door in (proxy, agent):
                answers.append(await door("GET", "/v2/docker.io/app/manifests/v2"))
                answers.append(await door("GET", f"/v2/docker.io/app/blobs/{digest_of(b'x')}"))
            upstream.down = True
            answers.append(await agent("GET", "/v2/docker.io/app/manifests/v3"))
    assert [one.status for one in answers] == [503] * 5
    told = f"{lines} {answers}"
    assert "refuses this cluster's credentials" in told
    assert PASSWORD not in told
    assert "Basic " not in told
    assert "Bearer " not in told


async def test_a_slow_blob_is_waited_for_as_long_as_it_comes(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster, Http() as http:
        upstream.hold = asyncio.Event()
        url = f"http://{cluster.origin.address}/namespace/docker.io/library/app/blobs"
        first = await http.json("POST", f"{url}/{digest_of(LAYER)}/fetch?wait_s=0", Progress)
        assert first.received in {0, 1}
        pulls = [asyncio.create_task(pull(door)) for door in doors(cluster, session)]
        while (
            await http.json("POST", f"{url}/{digest_of(LAYER)}/fetch?wait_s=0.01", Progress)
        ).size != len(LAYER):
            pass
        assert not any(one.done() for one in pulls)
        upstream.hold.set()
        await asyncio.gather(*pulls)
        assert upstream.count("GET", f"/blobs/{digest_of(LAYER)}") == 1


@asynccontextmanager
async def origins(folder: Path, upstream: Front) -> AsyncIterator[dict[str, asyncio.Event]]:
    """A ring of two; each goes when its event is set."""
    ring = {f"127.0.0.1:{port}": asyncio.Event() for port in free_ports(2)}
    settings = UpstreamSettings(name=HUB, url=upstream.url)
    async with asyncio.TaskGroup() as group:
        for name, stop in ring.items():
            config = OriginConfig(
                data=str(folder / name), name=name, origins=list(ring), replicas=2,
                listen=Listen(port=int(name.rpartition(":")[2])), upstreams=[settings],
            )  # fmt: skip
            ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
            group.create_task(run_origin(config, ready.set_result, stop))
            await ready
        yield ring
        for stop in ring.values():
            stop.set()


async def test_origins_that_are_asked_out_of_turn_do_not_fetch_too(
    upstream: Front, http: Http, tmp_path: Path
) -> None:
    async with origins(tmp_path, upstream) as ring:
        path = f"/namespace/docker.io/library/app/blobs/{digest_of(LAYER)}/fetch?wait_s=9&whole=1"
        asked = [http.call("POST", f"http://{name}{path}") for name in [*ring] * 3]
        assert {reply.status for reply in await asyncio.gather(*asked)} == {201}
        assert upstream.count("GET", "/blobs/") == 1
        async with asyncio.timeout(20):
            while await holders(http, list(ring), Digest.of(LAYER)) != set(ring):
                pass


async def test_when_the_origin_that_fetches_goes_the_next_one_does(
    upstream: Front, http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SHUTDOWN_S", 0.1)
    upstream.hold = asyncio.Event()
    async with origins(tmp_path, upstream) as ring:
        cluster = OriginCluster(http, list(ring), 2, upstreams={HUB}, patience_s=20)
        reading = asyncio.create_task(
            cluster.read("docker.io/library/app", Digest.of(LAYER), len(LAYER))
        )
        await upstream.seen("GET", "/blobs/", 1)
        ring[cluster.owners(Digest.of(LAYER))[0]].set()
        async with asyncio.timeout(60):
            await upstream.seen("GET", "/blobs/", 2)
        assert not reading.done()
        upstream.hold.set()
        assert await reading == LAYER


async def holders(http: Http, ring: list[str], digest: Digest) -> set[str]:
    found = set()
    for host in ring:
        with contextlib.suppress(NotFound):
            await OriginCluster(http, [host], 1).stat("ns", digest)
            found.add(host)
    return found


async def test_a_silent_upstream_does_not_hold_up_what_is_known(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with through(tmp_path, upstream) as cluster:
        _, agent = doors(cluster, session)
        await pull(agent)
        upstream.silence = asyncio.Event()
        told = await agent("GET", "/v2/docker.io/app/manifests/v1")
        assert (told.status, told.headers.get("Warning")) == (200, WARNING)
        unknown = asyncio.create_task(agent("GET", "/v2/docker.io/app/manifests/v2"))
        assert (await agent("GET", "/v2/docker.io/app/manifests/v1")).body == IMAGE
        upstream.silence.set()
        assert (await unknown).status == 404


async def test_garbage_collection_takes_what_no_tag_of_an_upstream_leads_to(
    home: Registry, upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    other = content(400_000, 12)
    async with through(tmp_path, upstream) as cluster:
        _, agent = doors(cluster, session)
        await pull(agent)
        await home.push_blob(other, "library/app")
        moved = manifest(b"{}", other)
        tag_index = Registry(session, cluster.tag_index.address)

        async def collect() -> None:
            assert (await tag_index("POST", "/gc?grace_s=0")).status == 200

        def kept(blob: bytes) -> bool:
            return bool(list((tmp_path / "cluster" / "origin").rglob(Digest.of(blob).hex)))

        await collect()
        assert kept(IMAGE)
        assert kept(LAYER)
        assert (await home.push_manifest("library/app", "v1", moved)).status == 201
        assert (await agent("GET", "/v2/docker.io/app/manifests/v1")).body == moved
        await collect()
        assert kept(moved)
        assert not kept(IMAGE)
        # Whoever has pinned the digest can still have it.
        path = f"/v2/docker.io/app/manifests/{digest_of(IMAGE)}"
        assert (await agent("GET", path)).body == IMAGE
        assert (await agent("GET", f"/v2/docker.io/app/blobs/{digest_of(LAYER)}")).body == LAYER


async def test_octopull_up_takes_upstreams(
    upstream: Front, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    words = ("--agents", "1", "--upstream", f"{HUB}={upstream.url}")
    with up(tmp_path, *words, "--upstream", "quay.io=http://127.0.0.1:1") as cluster:
        agent = Registry(session, cluster["agents"][0]["http"])
        await pull(agent, "/v2/app", f"?ns={HUB}")
        away = await agent("GET", "/v2/quay.io/app/manifests/v1")
        assert (away.status, away.json["errors"][0]["message"]) == (
            503, "quay.io can't be reached",
        )  # fmt: skip


@pytest.mark.parametrize(
    "given", ["x=ftp://y", "A=http://x", "x=http://u:p@y", "x=http://y --upstream x=http://y"]
)
def test_octopull_up_refuses_what_are_no_upstreams(given: str) -> None:
    words = [str(OCTOPULL), "up", "--upstream", *given.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "Invalid value for --upstream" in done.stderr) == (2, True)


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is missing")
async def test_docker_registry_is_an_upstream(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nhttp: {{addr: '{address}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{tmp_path}/registry'}}}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(config), stderr=asyncio.subprocess.PIPE
    )
    try:
        registry = Registry(session, address)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while b"listening on" not in await process.stderr.readline():
                pass
        for blob in (b"{}", LAYER):
            started = await registry("POST", "/v2/library/app/blobs/uploads/")
            joint = "&" if "?" in started.headers["Location"] else "?"
            url = f"{started.headers['Location']}{joint}digest={digest_of(blob)}"
            assert (await registry("PUT", url, blob)).status == 201
        assert (await registry.push_manifest("library/app", "v1", IMAGE)).status == 201
        settings = UpstreamSettings(name=HUB, url=f"http://{address}")
        async with running(tmp_path / "cluster", 1, Ports(0, "127.0.0.1"), [settings]) as cluster:
            for door in doors(cluster, session):
                await pull(door)
                await pull(door, "/v2/app", f"?ns={HUB}")
            # A manifest that nobody asked for by its tag.
            assert (await registry.push_manifest("library/app", "v2", NEWER)).status == 201
            path = f"/v2/docker.io/app/manifests/{digest_of(NEWER)}"
            assert (await door("GET", path)).body == NEWER
    finally:
        process.terminate()
        await process.wait()
