"""``octopull push``: an OCI layout into a registry."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import click

from octopull.backends.authorization import Purpose
from octopull.cli.calling import calling
from octopull.cli.credentials import credentials_option
from octopull.cli.layout import Layout, opened
from octopull.cli.progress import Transfers, transfers
from octopull.clients.registry import Registry
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.kernel.names import TagName
from octopull.oci.manifests import Descriptor, parse

TRIES = 5
AT_ONCE = 4
CHUNK_BYTES = 1024 * 1024


@click.command(epilog="Example: octopull push ./layout demo:v1 --to http://127.0.0.1:5000")
@click.argument("image", type=click.Path(exists=True, path_type=Path))
@click.argument("name")
@click.option("--to", "proxy", default="http://127.0.0.1:5000", show_default=True,
              help="The proxy (or any registry).")  # fmt: skip
@credentials_option
def push(image: Path, name: str, proxy: str, credentials: str) -> None:
    """Push IMAGE, an OCI layout folder or a tar of one, as NAME (repository:tag)."""
    digest = asyncio.run(_push(image, TagName.parse(name), proxy, credentials))
    click.echo(f"{name}@{digest}")


async def _push(image: Path, name: TagName, proxy: str, credentials: str) -> Digest:
    with opened(image) as layout, transfers() as progress:
        async with calling() as http:
            registry = Registry(http, proxy, name.repository, Purpose.PUSH, credentials)
            pusher = _Pusher(layout, registry, progress)
            top = Digest.parse(layout.top(name.tag).digest)
            # A registry names what is pushed by tag by its SHA-256.
            other = [] if top.algorithm is Algorithm.SHA256 else [str(top)]
            await pusher.manifest(top, *other, name.tag)
            return top


class _Pusher:
    """One push: blobs before the manifests that refer to them."""

    def __init__(self, layout: Layout, registry: Registry, progress: Transfers) -> None:
        self._layout = layout
        self._registry = registry
        self._progress = progress
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def manifest(self, digest: Digest, *references: str) -> None:
        content = self._layout.manifest(digest)
        manifest = parse(content, None)
        await asyncio.gather(
            *(self._reference(one) for one in dict.fromkeys(manifest.references) if one.required)
        )
        for reference in references:
            await self._registry.put_manifest(reference, manifest.media_type.value, content)

    async def _reference(self, reference: Descriptor) -> None:
        if reference.is_manifest:
            await self.manifest(reference.digest, str(reference.digest))
            return
        async with self._gate:
            await self._blob(reference.digest)

    async def _blob(self, digest: Digest) -> None:
        path = self._layout.blob(digest)
        if not path.is_file():
            raise NotFound(f"the layout lacks the blob {digest}")
        size = path.stat().st_size
        self._progress.began(digest, size, 0)
        if await self._registry.has_blob(digest):
            self._progress.moved(digest, size)
            self._progress.ended(digest, "exists")
            return
        session = await self._registry.start_upload()
        await self._send(session, digest, path, size)
        self._progress.ended(digest, "pushed")

    async def _send(self, session: str, digest: Digest, path: Path, size: int) -> None:
        """Send, and after a break go on where the registry says it stands."""
        offset = 0
        for attempt in range(TRIES):
            try:
                if offset < size:
                    body = self._body(digest, path, offset)
                    session = await self._registry.append(session, offset, size - offset, body)
                await self._registry.commit(session, digest)
            except Unavailable:
                if attempt + 1 == TRIES:
                    raise
                await asyncio.sleep(2**attempt / 2)
                offset = await self._registry.upload_size(session)
            else:
                return

    async def _body(self, digest: Digest, path: Path, offset: int) -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk
                self._progress.moved(digest, len(chunk))
