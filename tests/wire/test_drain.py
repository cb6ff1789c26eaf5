"""An origin that is to leave hands over what it holds, and no pull fails meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml

from octopull.clients.draining import left
from octopull.clients.origin import OriginCluster
from octopull.config.services import RepairSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from support.cluster import OCTOPULL, content
from support.origins import origin
from support.ports import free_ports
from support.waiting import until

REPLICAS, NAMESPACE, WITHIN_S = 2, "ns", 30.0
OFTEN = RepairSettings(every_s=0.1, settle_s=0.0, bytes_per_s=None)
NEVER = RepairSettings(every_s=0.0)
BLOBS = [content(size, size) for size in (0, 300_000, 5_000_000, *range(2000, 2040))]


@pytest.fixture
def ring() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


@asynccontextmanager
async def origins(
    folder: Path, ring: list[str], repair: RepairSettings, weights: Mapping[str, float]
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for name in ring:
            one = origin(folder, name, ring, REPLICAS, repair=repair, weights=weights)
            await stack.enter_async_context(one)
        yield


async def drain(folder: Path, ring: list[str], *words: str) -> tuple[int | None, str]:
    """The exit code and words of ``octopull origin drain`` of the first of ``ring``."""
    path = folder / "origin.yaml"
    config = {
        "data": str(folder / "none"), "name": ring[0], "origins": ring, "replicas": REPLICAS,
        "weights": {ring[0]: 0},
    }  # fmt: skip
    path.write_text(yaml.safe_dump({"origin": config}))
    command = await asyncio.create_subprocess_exec(
        OCTOPULL, "origin", "drain", "--config", path, *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await command.communicate()
    return command.returncode, out.decode()


async def test_what_it_alone_has_goes_to_the_others_while_all_can_be_read(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    async with origins(tmp_path, ring, NEVER, {}):
        for blob in BLOBS:
            await OriginCluster(http, ring, REPLICAS).uploads.push(NAMESPACE, Digest.of(blob), blob)
    async with origins(tmp_path, ring, NEVER, {}):
        code, told = await drain(tmp_path, ring, "--check")
        assert (code, "was not started again" in told) == (1, True), told
    weights = {ring[0]: 0.0}
    cluster = OriginCluster(http, ring, REPLICAS, weights=weights)
    async with origins(tmp_path, ring, NEVER, weights):
        assert (await left(http, ring[0], ring[1:])).copies > 0
        code, told = await drain(tmp_path, ring, "--check")
        assert (code, "have yet to be fetched" in told) == (1, True), told
    async with origins(tmp_path, ring, OFTEN, weights):

        async def drained() -> bool:
            for blob in BLOBS:
                assert await cluster.read(NAMESPACE, Digest.of(blob), len(blob)) == blob
            return not (await left(http, ring[0], ring[1:])).copies

        await until(drained, WITHIN_S)
        code, told = await drain(tmp_path, ring)
        assert (code, "may be stopped" in told) == (0, True), told
    async with origins(tmp_path, ring[1:], NEVER, {}):
        without = OriginCluster(http, ring[1:], REPLICAS)
        for blob in BLOBS:
            assert await without.read(NAMESPACE, Digest.of(blob), len(blob)) == blob


async def test_one_that_is_to_leave_takes_no_pushes(
    http: Http, ring: list[str], tmp_path: Path
) -> None:
    weights = {ring[0]: 0.0}
    async with origins(tmp_path, ring, NEVER, weights):
        cluster = OriginCluster(http, ring, REPLICAS, weights=weights)
        for blob in BLOBS:
            await cluster.uploads.push(NAMESPACE, Digest.of(blob), blob)
        for blob in BLOBS:
            assert ring[0] not in cluster.owners(Digest.of(blob))
        assert not (await left(http, ring[0], ring[1:])).copies
        assert not list((tmp_path / ring[0] / "blobs").rglob("?" * 64))
