"""Services need no privilege: neither capabilities nor anything to write but their data folder."""

import shutil
from pathlib import Path

import aiohttp
import pytest

from support import images
from support.cluster import up
from support.images import image
from support.registry import Registry

NONE = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
LAYER_BYTES = 3_000_000


def capabilities(pid: int) -> int:
    """Those that a process has, as bits."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
async def test_an_image_is_pushed_and_pulled_by_services_without_capabilities(
    tmp_path: Path,
) -> None:
    pushed = image(1, LAYER_BYTES)
    with up(tmp_path, "--agents", "1", prefix=NONE) as cluster:
        assert capabilities(cluster["pid"]) == 0
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            await images.push(Registry(session, cluster["proxy"]), "team/app", "v1", pushed)
            await images.pull(
                Registry(session, cluster["agents"][0]["http"]), "team/app", "v1", pushed
            )
