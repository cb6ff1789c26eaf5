"""Garbage collection over the wire: one cluster, several origins, and the command."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from octopull.cli.cluster import Cluster, Ports, running
from octopull.cli.main import main
from octopull.clients.collection import Ended, Looked, Swept, collect
from octopull.clients.keeping import OriginBlobs
from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound, Unavailable
from octopull.oci.manifests import parse
from octopull.services.tag_index.collector import Collector
from octopull.services.tag_index.pushes import Pushes
from octopull.services.tag_index.store import Pushed, TagStore
from octopull.storage.disk import DiskStore
from support.cluster import OCTOPULL, content
from support.origins import holders, origin
from support.ports import free_port, free_ports
from support.registry import Registry, manifest

BOOK = "0123456789abcdef"
CONFIG, SHARED, FIRST, SECOND = b"{}", content(400_000, 1), b"only in the first", b"in the second"
LAYERS = {"first": (SHARED, FIRST), "second": (SHARED, SECOND)}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 0, Ports(0, "127.0.0.1")) as one:
        yield one


async def push(proxy: Registry, repository: str, layers: tuple[bytes, ...]) -> bool:
    """Push as clients do; False if collection took a blob before the manifest came."""
    for blob in (CONFIG, *layers):
        if (await proxy("HEAD", f"/v2/{repository}/blobs/{Digest.of(blob)}")).status != 200:
            await proxy.push_blob(blob, repository)
    answer = await proxy.push_manifest(repository, "v1", manifest(CONFIG, *layers))
    assert answer.status == 201 or answer.code == "MANIFEST_BLOB_UNKNOWN", answer
    return answer.status == 201


async def gc(http: Http, cluster: Cluster, *, dry_run: bool = False) -> tuple[set[Digest], Swept]:
    """Without grace; what went, and the report."""
    lines = [line async for line in
             collect(http, cluster.tag_index.address, grace_s=0, dry_run=dry_run)]  # fmt: skip
    assert lines[-1] == Ended(dry_run=dry_run, grace_s=0)
    (swept,) = (line for line in lines if isinstance(line, Swept))
    gone = {Digest.parse(blob.digest)
            for line in lines if isinstance(line, Looked) for blob in line.gone}  # fmt: skip
    return gone, swept


def stored(folder: Path) -> set[Digest]:
    return {entry.digest for entry in DiskStore(folder / "origin").entries()}


async def octopull(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        OCTOPULL, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_only_what_the_deleted_manifest_alone_refers_to_goes(
    http: Http, cluster: Cluster, proxy: Registry, tmp_path: Path
) -> None:
    for name, layers in LAYERS.items():
        assert await push(proxy, name, layers)
    before = stored(tmp_path)
    assert await gc(http, cluster) == (
        set(),
        Swept(origin=cluster.origin.address, looked_at=6, collected=0, bytes=0, kept_back=0),
    )
    first = manifest(CONFIG, *LAYERS["first"])
    path = f"/v2/first/manifests/{Digest.of(first)}"
    assert (await proxy("DELETE", path)).status == 202
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps(cluster.document()))
    command = ("gc", "--cluster", str(ready), "--grace", "0s")
    garbage = {Digest.of(first), Digest.of(FIRST)}
    code, out, err = await octopull(*command, "--dry-run")
    assert (code, err) == (0, "")
    assert f"would collect 2 of {len(first) + len(FIRST)} B" in out
    assert {line.partition(" ")[0] for line in out.splitlines() if line.startswith("sha256:")} == {
        str(digest) for digest in garbage
    }
    assert stored(tmp_path) == before
    assert await octopull(*command, "--grace", "1h") == (
        0, f"{cluster.origin.address}: looked at 0 blobs, collected 0 of 0 B\n", ""
    )  # fmt: skip
    code, out, _ = await octopull(*command)
    assert (code, "collected 2 of" in out) == (0, True)
    assert stored(tmp_path) == before - garbage
    answer = await proxy("GET", f"/v2/second/blobs/{Digest.of(SHARED)}")
    assert (answer.status, answer.body == SHARED) == (200, True)
    assert (await proxy("GET", path)).status == 404
    assert await push(proxy, "first", LAYERS["first"])
    assert stored(tmp_path) == before


async def test_pushes_while_garbage_is_collected_without_grace_are_whole_or_refused(
    http: Http, cluster: Cluster, proxy: Registry
) -> None:
    images = {f"r{number}": (SHARED, b"layer %d" % number) for number in range(8)}
    collected = refused = 0
    for name, layers in images.items():
        # A push that is never finished, so that there is always garbage.
        await proxy.push_blob(b"garbage of " + name.encode(), name)
        for tries in range(4):
            pushing = asyncio.create_task(push(proxy, name, layers))
            # First as many collections as can run beside the push, then one, at last none.
            for _ in range((99, 1, 1, 0)[tries]):
                collected += (await gc(http, cluster))[1].collected
                if pushing.done():
                    break
            if await pushing:
                break
            refused += 1
        else:
            pytest.fail("a push beside no collection is refused")
    assert collected >= len(images)
    print(f"{collected} blobs collected, {refused} pushes refused")
    for name, layers in images.items():
        for blob in (CONFIG, *layers):
            assert (await proxy("GET", f"/v2/{name}/blobs/{Digest.of(blob)}")).body == blob
        assert (await proxy("GET", f"/v2/{name}/manifests/v1")).status == 200


async def test_the_question_waits_for_pushes_that_kept_before(http: Http, tmp_path: Path) -> None:
    image = manifest(b"{}")
    pushed = Pushed(Digest.of(image), len(image), parse(image, None))
    host = f"127.0.0.1:{free_port()}"
    listed, pushes = asyncio.Event(), Pushes()

    class Watched(OriginBlobs):
        async def untouched(
            self, untouched_s: float, after: Digest | None, count: int
        ) -> tuple[int, list[tuple[Digest, int]]]:
            page = await super().untouched(untouched_s, after, count)
            listed.set()
            return page

    async with origin(tmp_path, host, [host], 1):
        book = TagStore(tmp_path / "book.sqlite")
        collector = Collector(book, pushes, [Watched(http, host, book.book)])
        origins = OriginCluster(http, [host], 1, book.book)
        await origins.uploads.push("ns", pushed.digest, image)
        await origins.uploads.push("ns", Digest.of(b"{}"), b"{}")
        lines: list[object] = []

        async def run() -> None:
            lines.extend([line async for line in collector.collect(grace_s=0, dry_run=False)])

        with pushes.one():
            assert len(await origins.keep("ns", [pushed.digest, Digest.of(b"{}")])) == 2
            collecting = asyncio.create_task(run())
            await listed.wait()
            with pytest.raises(Unavailable, match="under way already"):
                await run()
            await asyncio.to_thread(book.record, "ns", pushed, [])
        await collecting
        swept = Swept(origin=host, looked_at=2, collected=0, bytes=0, kept_back=0)
        assert swept in lines
        assert len(await origins.keep("ns", [pushed.digest, Digest.of(b"{}")])) == 2
        book.close()


async def test_a_blob_is_kept_by_all_its_owners_or_by_whoever_has_it(
    http: Http, tmp_path: Path
) -> None:
    ring = [f"127.0.0.1:{port}" for port in free_ports(3)]
    blobs = [content(1000, number) for number in range(6)]
    digests, missing = [Digest.of(blob) for blob in blobs], Digest.of(b"missing")
    sizes = dict.fromkeys(digests, 1000)
    cluster = OriginCluster(http, ring, 2)

    async def untouched(host: str) -> set[Digest]:
        _, page = await OriginBlobs(http, host, lambda: BOOK).untouched(3600, None, 99)
        return {digest for digest, _ in page}

    async with AsyncExitStack() as stack:
        for name in ring[:2]:
            await stack.enter_async_context(origin(tmp_path, name, ring, 2))
        async with origin(tmp_path, ring[2], ring, 2):
            for digest, blob in zip(digests, blobs, strict=True):
                await cluster.uploads.push("ns", digest, blob)
            age(tmp_path)
            assert await cluster.keep("ns", [*digests, missing]) == sizes
            for host in ring:
                owned = {digest for digest in digests if host in cluster.owners(digest)}
                assert not await untouched(host) & owned
            # One owner loses everything: the others, and origins that are no owners, answer.
            store = DiskStore(tmp_path / ring[2])
            for digest in digests:
                if (await holders(http, [ring[2]], digest)) != set():
                    store.delete(digest)
            assert await cluster.keep("ns", digests) == sizes
        assert await cluster.keep("ns", digests) == sizes
        with pytest.raises(Unavailable):
            await cluster.keep("ns", [*digests, missing])


def age(root: Path) -> None:
    """Let all blobs under ``root`` look as if nobody had touched them for a day."""
    yesterday_ns = time.time_ns() - 86400 * 10**9
    for blobs in root.glob("*/blobs"):
        store = DiskStore(blobs.parent, lambda: yesterday_ns)
        for entry in store.entries():
            store.keep(entry.digest)


async def test_a_blob_pushed_for_its_own_sake_stays_on_all_origins_until_it_is_deleted(
    http: Http, tmp_path: Path
) -> None:
    ring = [f"127.0.0.1:{port}" for port in free_ports(3)]
    digest = Digest.of(b"a model")
    base = f"http://{ring[0]}/namespace/models/blobs/{digest}"
    cluster = OriginCluster(http, ring, 2)
    everywhere = [OriginBlobs(http, host, lambda: BOOK) for host in ring]
    async with AsyncExitStack() as stack:
        for name in ring:
            await stack.enter_async_context(origin(tmp_path, name, ring, 2))
        for _ in range(2):  # Pushed again, it is the same.
            session = (await http.call("POST", f"{base}/uploads")).headers["Location"]
            await http.call("PATCH", f"{base}/uploads/{session}", data=b"a model",
                            headers={"Content-Range": "0-7"})  # fmt: skip
            await http.call("PUT", f"{base}/uploads/{session}")
        assert set(cluster.owners(digest)) <= await holders(http, ring, digest)
        for one in everywhere:
            assert (await one.untouched(0, None, 9))[1] == []
            assert await one.collect([digest], 2**62) == {}
        for name in await holders(http, ring, digest):
            await http.call("DELETE", f"http://{name}/namespace/models/blobs/{digest}")
        for one in everywhere:
            if one.host in await holders(http, ring, digest):
                assert await one.collect([digest], 2**62) == {digest: 7}
        assert await holders(http, ring, digest) == set()
        for name in ring:
            with pytest.raises(NotFound):
                await http.call("DELETE", f"http://{name}/namespace/models/blobs/{digest}")


async def test_a_tag_index_that_does_not_know_all_references_collects_nothing(
    http: Http, tmp_path: Path
) -> None:
    host = f"127.0.0.1:{free_port()}"
    digest = Digest.of(b"of another")
    books = [TagStore(tmp_path / f"{number}.sqlite") for number in range(2)]
    for _ in range(2):  # The second time after a restart of the origin.
        async with origin(tmp_path, host, [host], 1):
            origins = OriginCluster(http, [host], 1, books[0].book)
            await origins.uploads.push("ns", digest, b"of another")
            await origins.keep("ns", [digest])
            blobs = OriginBlobs(http, host, books[1].book)
            with pytest.raises(Misuse, match="another tag index"):
                async for _ in Collector(books[1], Pushes(), [blobs]).collect(
                    grace_s=0, dry_run=True
                ):
                    pass
            with pytest.raises(Misuse, match="another tag index"):
                await blobs.collect([digest], 2**62)
            assert await holders(http, [host], digest) == {host}
    for book in books:
        book.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/namespace/ns/keep", b""),
        ("POST", "/namespace/ns/keep", b'{"digests": ["md5:00"]}'),
        ("POST", "/namespace/ns/keep", json.dumps({"digests": ["x"] * 1001}).encode()),
        ("POST", "/collect", b'{"digests": []}'),
        ("POST", "/collect", b'{"digests": ["../../x"], "before_ns": 1}'),
        ("POST", "/collect", b'{"digests": [], "before_ns": 1e400}'),
        ("GET", "/blobs?untouched_s=nan", None),
        ("GET", "/blobs?untouched_s=-1", None),
        ("GET", "/blobs?n=0", None),
        ("GET", "/blobs?n=1001", None),
        ("GET", "/blobs?n=\u0661", None),
        ("GET", "/blobs?after=x", None),
        ("DELETE", "/namespace/ns/blobs/x", None),
    ],
)
async def test_what_makes_no_sense_is_refused_by_an_origin(
    cluster: Cluster, method: str, path: str, body: bytes | None
) -> None:
    url = f"http://{cluster.origin.address}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=body) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["errors"][0]["message"]


@pytest.mark.parametrize("query", ["grace_s=x", "grace_s=nan", "grace_s=-1", "grace_s=1e99"])
async def test_what_is_no_grace_time_is_refused(cluster: Cluster, query: str) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"http://{cluster.tag_index.address}/gc?{query}")
        assert answer.status == 400


def test_the_command_says_in_a_line_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "not-ready.json").write_text("[]")
    for words, exit_code, said in (
        (["--cluster", str(tmp_path / "not-ready.json")], 1, "was not written by"),
        (["--tag-index", f"127.0.0.1:{free_port()}"], 1, "octopull: POST"),
        (["--grace", "soon"], 2, "no duration such as"),
        (["--grace", "1000000d"], 2, "out of bounds"),
    ):
        monkeypatch.setattr(sys, "argv", ["octopull", "gc", *words])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == exit_code
        assert said in capsys.readouterr().err
