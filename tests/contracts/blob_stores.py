"""Every store of blobs that keeps the contract ``BlobBackend``: a new one is a line in ``STORES``.

A maker gets an empty folder and yields a backend with no blobs in it, which can be written.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from octopull.backends.contract import BlobBackend
from octopull.backends.opening import opened
from octopull.cli.cluster import Ports, running
from octopull.config.backends import BackendSettings, BlobLayout
from support.servers.moto import moto

Maker = Callable[[Path], AbstractAsyncContextManager[BlobBackend]]


def _folder(path: Path, layout: BlobLayout, name: str = "folder") -> BackendSettings:
    path.mkdir()
    return BackendSettings(url=path.as_uri(), name=name, layout=layout)


def files(layout: BlobLayout) -> Maker:
    """A folder with that layout."""

    @asynccontextmanager
    async def maker(folder: Path) -> AsyncIterator[BlobBackend]:
        async with opened([_folder(folder / "blobs", layout)]) as backends:
            yield backends.all[0]

    return maker


@asynccontextmanager
async def shadowed(folder: Path) -> AsyncIterator[BlobBackend]:
    second = _folder(folder / "shadow", BlobLayout.IDENTITY, "shadow")
    (folder / "blobs").mkdir()
    settings = BackendSettings(url=(folder / "blobs").as_uri(), name="folder", shadow=second)
    async with opened([settings]) as backends:
        yield backends.all[0]


@asynccontextmanager
async def s3(folder: Path) -> AsyncIterator[BlobBackend]:
    del folder
    async with moto() as bucket, opened([bucket.settings()]) as backends:
        yield backends.all[0]


@asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[BlobBackend]:
    """Another octopull: docker-registry files SHA-512 under SHA-256."""
    async with running(folder / "other", 0, Ports(0, "127.0.0.1")) as other:
        url = f"registry+http://{other.proxy.address}/mirror"
        async with opened([BackendSettings(url=url, name="other")]) as backends:
            yield backends.all[0]


STORES: dict[str, Maker] = {
    "files": files(BlobLayout.SHARDED_DOCKER_BLOB),
    "files, identity": files(BlobLayout.IDENTITY),
    "files, in a shadow": shadowed,
    "s3, moto": s3,
    "registry": registry,
}
NO_METAINFO = frozenset({"registry"})
"""Those with no place for it."""
