"""What the swarms of real processes recorded, decided again."""

import asyncio
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from octopull.cli.cluster import Ports, running
from octopull.clients.origin import OriginCluster
from octopull.config.services import PeerSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.observability.journal import read, replay
from octopull.swarm.events import Refused, Served, Verified
from support.cluster import OCTOPULL, content
from support.fake_peer import FakePeer, announce

MIB = 1 << 20


@dataclass(frozen=True)
class Recorded(Ports):
    """Ports whose peers all keep their journals in one folder."""

    folder: str

    def peer_at(self, offset: int) -> PeerSettings:
        return replace(super().peer_at(offset), journal=self.folder)


def journals(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jsonl"))


async def test_every_swarm_of_a_cluster_replays_with_the_same_commands(
    http: Http, tmp_path: Path
) -> None:
    blob = content(20 * MIB + 1, 11)
    digest = Digest.of(blob)
    ports = Recorded(0, "127.0.0.1", str(tmp_path / "journal"))
    async with running(tmp_path / "data", 3, ports) as cluster:
        origins = OriginCluster(http, [cluster.origin.address], 1)
        await origins.uploads.push("ns", digest, blob)
        metainfo = await origins.metainfo("ns", digest)
        async with FakePeer(metainfo) as liar:
            await announce(http, cluster.tracker.address, metainfo, liar.peer)
            urls = [f"http://{one.address}/namespace/ns/blobs/{digest}" for one in cluster.agents]
            replies = await asyncio.gather(*(http.call("GET", u, bytes_max=1 << 30) for u in urls))
            assert all(reply.body == blob for reply in replies)
    files = journals(tmp_path / "journal")
    assert len(files) == 4  # three downloads, and the origin's seed
    assert all(path.name.startswith(digest.short) for path in files)
    assert all(replay(path) == len(list(read(path))) for path in files)
    kinds = [type(entry.event) for path in files for entry in read(path)]
    assert kinds.count(Verified) >= 3 * metainfo.outline.layout.count
    assert Served in kinds
    assert Refused in kinds
    # Elsewhere too: another process hashes its strings otherwise.
    told = await asyncio.create_subprocess_exec(
        OCTOPULL, "replay", *files, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = (await told.communicate())[0].decode()
    assert told.returncode == 0, output
    assert output.count(" events agree\n") == 4


async def test_without_the_setting_nothing_is_written(http: Http, tmp_path: Path) -> None:
    blob = content(MIB, 12)
    digest = Digest.of(blob)
    async with running(tmp_path, 1, Ports(0, "127.0.0.1")) as cluster:
        await OriginCluster(http, [cluster.origin.address], 1).uploads.push("ns", digest, blob)
        url = f"http://{cluster.agents[0].address}/namespace/ns/blobs/{digest}"
        await http.call("GET", url, bytes_max=1 << 30)
    assert not journals(tmp_path)
