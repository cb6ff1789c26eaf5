"""A ``BlobBackend`` over a folder, which tests can watch and let fail."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from octopull.backends.contract import BlobName, Content
from octopull.kernel.errors import Fault, NotFound, UpstreamFailed


class FolderBackend:
    """Blobs and metainfo in ``root`` by their hex digits; ``said`` hears of each put and delete,
    and of blobs that are put without metainfo.

    It fails with UpstreamFailed as long as ``down`` says why, and as ``refusals`` says for a
    digest; puts wait for ``passing``, and bodies for ``reading``.
    """

    writable = True

    def __init__(
        self, root: Path, said: Callable[[str], None] = lambda _: None, name: str = "folder"
    ) -> None:
        self.name = name
        self.root = root
        self.said = said
        self.down = ""
        self.refusals: dict[str, Fault] = {}
        self.asked = 0
        self.passing, self.reading = asyncio.Event(), asyncio.Event()
        self.passing.set()
        self.reading.set()
        root.mkdir(parents=True, exist_ok=True)

    def path(self, blob: BlobName) -> Path:
        return self.root / blob.digest.hex

    async def _ask(self) -> None:
        self.asked += 1
        if self.down:
            raise UpstreamFailed(self.down)

    async def stat(self, blob: BlobName) -> int | None:
        await self._ask()
        try:
            return self.path(blob).stat().st_size
        except FileNotFoundError:
            raise NotFound("no such blob") from None

    async def get(self, blob: BlobName, start: int = 0) -> AsyncGenerator[bytes, None]:
        await self.stat(blob)
        await self.reading.wait()
        yield self.path(blob).read_bytes()[start:]

    async def put(self, blob: BlobName, content: Content) -> None:
        await self._ask()
        if blob.digest.hex in self.refusals:
            raise self.refusals[blob.digest.hex]
        self.said(f"put {blob.digest.hex} {int(self.path(blob).exists())}")
        if not self.path(blob).with_suffix(".metainfo").exists():
            self.said(f"bare {blob.digest.hex}")
        await self.passing.wait()
        part = self.path(blob).with_suffix(f".{os.getpid()}")
        with part.open("wb") as file:
            async for chunk in content.chunks():
                file.write(chunk)
        part.rename(self.path(blob))
        self.said(f"stored {blob.digest.hex}")

    async def delete(self, blob: BlobName) -> None:
        await self._ask()
        self.said(f"deleted {blob.digest.hex}")
        for path in (self.path(blob), self.path(blob).with_suffix(".metainfo")):
            path.unlink(missing_ok=True)

    async def metainfo(self, blob: BlobName) -> bytes:
        await self._ask()
        try:
            return self.path(blob).with_suffix(".metainfo").read_bytes()
        except FileNotFoundError:
            raise NotFound("no metainfo") from None

    async def put_metainfo(self, blob: BlobName, encoded: bytes) -> None:
        await self._ask()
        part = self.path(blob).with_suffix(f".{os.getpid()}-metainfo")
        part.write_bytes(encoded)
        part.rename(self.path(blob).with_suffix(".metainfo"))
