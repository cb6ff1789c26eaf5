"""What a client sees of a large blob when the agent's link is slow."""

import subprocess
from pathlib import Path

import pytest

from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from support.cluster import Process, agent_config, content, up
from support.netns import HERE, THERE, capped_host, lacking

MIB = 1 << 20
PORT = 5101


async def test_the_first_byte_comes_long_before_the_last(tmp_path: Path) -> None:
    if lacking():
        pytest.skip(f"no capped link here: needs {', '.join(lacking())}")
    blob = content(100 * MIB, 1)
    digest = Digest.of(blob)
    with (
        capped_host("200mbit") as there,
        up(tmp_path / "cluster", "--agents", "0", "--host", HERE) as cluster,
    ):
        async with Http() as http:
            await OriginCluster(http, cluster["origins"], 1).uploads.push("ns", digest, blob)
        del blob
        config = agent_config(tmp_path / "agent", cluster, PORT, THERE)
        agent = Process(tmp_path / "log", "agent", "--config", config, prefix=there.prefix)
        try:
            url = f"http://{THERE}:{PORT}/namespace/ns/blobs/{digest}"
            out = tmp_path / "out"
            told = subprocess.run(
                [*there.prefix, "curl", "-sf", "--retry", "50", "--retry-connrefused", "--retry-delay", "0",
                 "--retry-max-time", "30", "-o", out, "-w", "%{time_starttransfer} %{time_total}", url],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
        finally:
            assert agent.stop() == 0
    first_s, whole_s = map(float, told.split())
    print(f"first byte {first_s:.3f} s, whole blob {whole_s:.2f} s")
    assert Digest.of(out.read_bytes()) == digest
    # A piece of 512 KiB takes 21 ms at 200 Mbit/s, the whole 4.2 s.
    assert first_s < whole_s / 10
