"""Processes killed at bad moments."""

import asyncio
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from octopull.blob.layout import Layout, piece_length_for
from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.storage.disk import DiskStore
from octopull.storage.uploads import Uploads
from support import writer
from support.cluster import Process, agent_config, content, up
from support.ports import free_port

MIB = 1 << 20
WRITER = Path(writer.__file__)


@pytest.mark.parametrize(
    ("moment", "algorithm"),
    [*((moment, Algorithm.SHA256) for moment in (0, 1, 7, 31, "committing", "committed")),
     ("committing", Algorithm.SHA512), ("committed", Algorithm.SHA512)],
)  # fmt: skip
def test_a_writer_killed_at_any_moment_leaves_a_whole_blob_or_none(
    tmp_path: Path, moment: int | str, algorithm: Algorithm
) -> None:
    blob = writer.blob()
    digest = Digest.of(blob, algorithm)
    process = subprocess.Popen(
        [sys.executable, WRITER, tmp_path, str(digest)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    appended = 0
    for line in process.stdout:
        appended += line == "appended\n"
        if line.strip() == moment or appended - 1 == moment:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    store = DiskStore(tmp_path)
    try:
        assert store.read(digest, len(blob)) == blob
    except NotFound:
        assert moment != "committed"
    assert not list((tmp_path / "blobs").rglob("*.tmp"))
    uploads = Uploads(store)
    for left in (tmp_path / "uploads").iterdir():
        size = uploads.size(left.name)
        assert left.read_bytes() == blob[:size]
        uploads.append(left.name, size, blob[size:])
        assert uploads.commit(left.name, digest).digest == digest
        assert store.read(digest, len(blob)) == blob


async def status(http: Http, address: str) -> dict[str, list[dict[str, int]]]:
    """The agent's status, once it answers."""
    while True:
        try:
            return await http.json("GET", f"http://{address}/status", dict)
        except Unavailable:
            await asyncio.sleep(0.02)


async def fetch(http: Http, address: str, digest: Digest) -> Digest:
    sha256 = hashlib.sha256()
    url = f"http://{address}/namespace/ns/blobs/{digest}"
    async with http.stream("GET", url) as response:
        async for chunk in response.content.iter_chunked(MIB):
            sha256.update(chunk)
    return Digest(sha256.hexdigest())


async def test_an_agent_killed_in_the_middle_goes_on_where_it_was(
    http: Http, tmp_path: Path
) -> None:
    blob = content(400 * MIB, 1)
    digest, layout = Digest.of(blob), Layout(len(blob), piece_length_for(len(blob)))
    with up(tmp_path / "cluster", "--agents", "0") as cluster:
        await OriginCluster(http, cluster["origins"], 1).uploads.push("ns", digest, blob)
        del blob
        port = free_port()
        address = f"127.0.0.1:{port}"
        words = ("agent", "--config", agent_config(tmp_path / "agent", cluster, port))
        agent = Process(tmp_path / "agent.log", *words)
        await status(http, address)
        pull = asyncio.create_task(fetch(http, address, digest))
        while not any(
            one["have_bytes"] > 40 * MIB for one in (await status(http, address))["blobs"]
        ):
            assert not pull.done(), "the pull was over before it could be disturbed"
        agent.kill()
        with pytest.raises(Unavailable):
            await pull
        marks = next((tmp_path / "agent" / "data" / "partial").glob("*.pieces")).read_bytes()
        proven = sum(layout.span(piece)[1] for piece, mark in enumerate(marks) if mark)
        assert 40 * MIB <= proven < layout.size
        agent = Process(tmp_path / "agent.log", *words)
        try:
            await status(http, address)
            assert await fetch(http, address, digest) == digest
            told = await status(http, address)
        finally:
            assert agent.stop() == 0
        received = sum(row["bytes"] for row in told["received"])
        # The kill may hit between a piece's write and its mark; no other byte comes twice.
        assert layout.size - proven - 4 * layout.piece_length <= received <= layout.size - proven


async def test_a_pull_that_began_while_the_cluster_was_away_completes_when_it_returns(
    http: Http, tmp_path: Path
) -> None:
    blob = content(5 * MIB, 2)
    digest, port_seed = Digest.of(blob), free_port()
    base = 20000 + port_seed % 10000  # below the ports that systems hand out
    folder = tmp_path / "cluster"
    words = ("--agents", "0", "--port-base", str(base))
    with up(folder, *words) as cluster:
        await OriginCluster(http, cluster["origins"], 1).uploads.push("ns", digest, blob)
    port = free_port()
    agent = Process(
        tmp_path / "agent.log", "agent", "--config", agent_config(tmp_path / "agent", cluster, port)
    )
    try:
        address = f"127.0.0.1:{port}"
        await status(http, address)
        pull = asyncio.create_task(fetch(http, address, digest))
        log = tmp_path / "agent.log"
        while "metainfo.waiting" not in log.read_text():
            assert not pull.done()
            await asyncio.sleep(0.02)
        with up(folder, *words):
            assert await pull == digest
    finally:
        assert agent.stop() == 0
