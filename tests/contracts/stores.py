"""Every store and decorator that keeps the contract ``Objects``: a new one is a line in ``STORES``.

A maker gets an empty folder and yields a ``Store`` with no objects in it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from octopull.backends import object_stores, web
from octopull.backends.contract import Objects
from octopull.backends.deadlines import Deadlines
from octopull.backends.files import Files
from octopull.backends.throttle import Throttle
from octopull.config.backends import BackendSettings
from support.contents import Bytes
from support.failing import Failing
from support.servers.azurite import azurite
from support.servers.gcs import gcs
from support.servers.hadoop import hdfs
from support.servers.moto import moto
from support.servers.nginx import nginx
from support.servers.programs import Bucket
from support.servers.rclone import rclone
from support.servers.versity import versity


@dataclass(frozen=True)
class Store:
    """``seed`` lays an object there by other means, if the store itself is only read."""

    objects: Objects
    seed: Callable[[str, bytes], Awaitable[None]] | None = None
    keys: int = 300
    """How many objects the test of paging makes; at least 30. Fewer where the store is slow."""
    here: bool = False
    """Whether bytes of the store's server count as this process's memory."""

    async def put(self, key: str, content: bytes) -> None:
        """Have an object there, in whichever way."""
        if self.seed is None:
            await self.objects.put(key, Bytes(content))
        else:
            await self.seed(key, content)


Maker = Callable[[Path], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Store]:
    (folder / "root").mkdir()
    yield Store(Files(folder / "root"))


def in_bucket(
    bucket: Callable[[], AbstractAsyncContextManager[Bucket]], *, here: bool = False
) -> Maker:
    """A folder in a bucket of an object store."""

    @asynccontextmanager
    async def maker(folder: Path) -> AsyncIterator[Store]:
        del folder
        async with bucket() as one:
            yield Store(object_stores.open(one.settings()), keys=120, here=here)

    return maker


@asynccontextmanager
async def hadoop(folder: Path) -> AsyncIterator[Store]:
    del folder
    async with hdfs() as store:
        yield Store(store, keys=120)


def served(place: str) -> Maker:
    """nginx's folder below ``place``; see its configuration."""

    @asynccontextmanager
    async def maker(folder: Path) -> AsyncIterator[Store]:
        del folder
        async with nginx() as server, web.connected(BackendSettings(url=server.url + place)) as one:

            async def seed(key: str, content: bytes) -> None:
                path = server.files / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

            yield Store(one, seed)

    return maker


def decorated(decorate: Callable[[Objects], Objects]) -> Maker:
    """A folder with something around it."""

    @asynccontextmanager
    async def maker(folder: Path) -> AsyncIterator[Store]:
        async with files(folder) as store:
            yield Store(decorate(store.objects))

    return maker


LIMITED = BackendSettings(
    url="s3://limited", requests_max=4, in_bytes_per_s=1 << 30, out_bytes_per_s=1 << 30
)
HEDGED = BackendSettings(url="s3://hedged", hedge_s=0.001)
STORES: dict[str, Maker] = {
    "files": files,
    "files, deadlines": decorated(lambda one: Deadlines(one, HEDGED)),
    "files, throttled": decorated(lambda one: Throttle(one, LIMITED)),
    "files, failing": decorated(Failing),
    "s3, moto": in_bucket(moto),
    "s3, rclone": in_bucket(rclone, here=True),
    "s3, versity": in_bucket(versity),
    "gcs": in_bucket(gcs, here=True),
    "azure": in_bucket(azurite),
    "hdfs": hadoop,
    "nginx": served("/files"),
    "nginx, no ranges": served("/whole"),
    "nginx, no HEAD": served("/headless"),
}
