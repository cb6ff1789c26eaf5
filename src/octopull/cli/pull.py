"""``octopull pull``: an image out of a registry, into an OCI layout."""

import asyncio
import hashlib
from pathlib import Path

import click

from octopull.backends.authorization import Purpose
from octopull.cli.calling import calling
from octopull.cli.credentials import credentials_option
from octopull.cli.layout import NAME, Layout, LayoutEntry
from octopull.cli.progress import Transfers, transfers
from octopull.clients.registry import Registry
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import Corrupt, Unavailable
from octopull.kernel.names import TagName
from octopull.oci.manifests import Descriptor, parse

TRIES = 5
AT_ONCE = 4
CHUNK_BYTES = 1024 * 1024


@click.command(epilog="Example: octopull pull demo:v1 ./demo --from http://127.0.0.1:5101")
@click.argument("name")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--from", "agent", default="http://127.0.0.1:5101", show_default=True,
              help="The agent (or any registry).")  # fmt: skip
@credentials_option
def pull(name: str, folder: Path, agent: str, credentials: str) -> None:
    """Pull NAME (repository:tag) into FOLDER as an OCI layout; a broken pull is resumed."""
    digest = asyncio.run(_pull(TagName.parse(name), folder, agent, credentials))
    click.echo(f"{name}@{digest}")


async def _pull(name: TagName, folder: Path, agent: str, credentials: str) -> Digest:
    layout = Layout(folder)
    with transfers() as progress:
        async with calling() as http:
            registry = Registry(http, agent, name.repository, Purpose.PULL, credentials)
            puller = _Puller(layout, registry, progress)
            digest, media_type, size = await puller.manifest(name.tag)
    layout.seal(LayoutEntry(media_type, str(digest), size, {NAME: name.tag}))
    return digest


class _Puller:
    """One pull: each blob once, proven before it has its name."""

    def __init__(self, layout: Layout, registry: Registry, progress: Transfers) -> None:
        self._layout = layout
        self._registry = registry
        self._progress = progress
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def manifest(self, reference: str) -> tuple[Digest, str, int]:
        digest, content = await self._registry.manifest(reference)
        manifest = parse(content, None)
        await asyncio.gather(
            *(self._reference(one) for one in dict.fromkeys(manifest.references) if one.required)
        )
        self._layout.room(digest).write_bytes(content)
        return digest, manifest.media_type.value, len(content)

    async def _reference(self, reference: Descriptor) -> None:
        if reference.is_manifest:
            await self.manifest(str(reference.digest))
            return
        async with self._gate:
            await self._blob(reference.digest, reference.size)

    async def _blob(self, digest: Digest, size: int) -> None:
        target = self._layout.room(digest)
        if target.exists():
            self._progress.began(digest, size, size)
            self._progress.ended(digest, "exists")
            return
        partial = target.with_suffix(".partial")
        partial.touch()
        self._progress.began(digest, size, partial.stat().st_size)
        for attempt in range(TRIES):
            try:
                await self._receive(digest, partial, size)
                break
            except Unavailable:
                if attempt + 1 == TRIES:
                    raise
                await asyncio.sleep(2**attempt / 2)
        if await asyncio.to_thread(_hash, partial, digest.algorithm) != digest.hex:
            partial.unlink()
            raise Corrupt(f"the registry sent other bytes for {digest}")
        partial.rename(target)
        self._progress.ended(digest, "pulled")

    async def _receive(self, digest: Digest, partial: Path, size: int) -> None:
        offset = partial.stat().st_size  # noqa: ASYNC240 - one look at a local file
        if offset >= size:
            return
        async with self._registry.blob(digest, offset) as response:
            with partial.open("r+b") as file:
                file.seek(offset if response.status == 206 else 0)
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    await asyncio.to_thread(file.write, chunk)
                    self._progress.moved(digest, len(chunk))


def _hash(path: Path, algorithm: Algorithm) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
