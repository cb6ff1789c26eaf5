"""The blobs of another registry. It keeps manifests apart, and a digest alone does not tell which.

So a blob is looked for among the blobs and then among the manifests, unless it is known to be a
manifest; and what is put there goes to the manifests if it is one by its bytes.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from octopull.backends import registry_changes
from octopull.backends.contract import BlobBackend, BlobName, Content
from octopull.backends.registry import BEYOND, RemoteRegistry, opened
from octopull.backends.registry_place import place_of_backend
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import InvalidName, Misuse, NotFound, Unsupported, UpstreamFailed
from octopull.oci.manifests import MANIFEST_BYTES_MAX, media_type_of


class RegistryBlobs:
    """The blobs of one registry, whose repositories the namespaces are, behind its prefix."""

    def __init__(self, registry: RemoteRegistry, *, writable: bool = False) -> None:
        self._registry = registry
        self._writable = writable

    @property
    def name(self) -> str:
        """The registry's."""
        return self._registry.place.name

    @property
    def writable(self) -> bool:
        """Whether blobs are pushed there; there is no place for metainfo in any case."""
        return self._writable

    async def stat(self, blob: BlobName) -> int | None:
        """Size in bytes, if the registry tells it."""
        repository = self._known(blob)
        if not blob.manifest:
            with contextlib.suppress(NotFound):
                return await self._registry.blob_size(repository, blob.digest)
        return await self._registry.manifest_size(repository, blob.digest)

    async def get(self, blob: BlobName, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` on; manifests are whole and proven before the first."""
        repository = self._known(blob)
        if not blob.manifest:
            body = self._registry.blob(repository, blob.digest, start)
            try:
                async with contextlib.aclosing(body) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except NotFound:
                pass
            except UpstreamFailed as fault:
                # Whoever starts at the end wants nothing, which is no range.
                beyond = fault.details.get("status") == BEYOND
                if not beyond or await self.stat(blob) != start:
                    raise
                return
            else:
                return
        manifest = await self._registry.manifest(repository, blob.digest)
        if start < len(manifest.content):
            yield manifest.content[start:]

    async def put(self, blob: BlobName, content: Content) -> None:
        """Push it; what are a manifest's bytes becomes a manifest, which needs what it refers to.

        Raises:
            MissingReference: that is not there yet. Unsupported: it won't have this blob.
            UpstreamFailed: it failed.

        """
        self._check_writable(blob)
        repository = self._registry.place.repository(blob.namespace)
        manifest = await _json(content) if content.size <= MANIFEST_BYTES_MAX else b""
        media_type = _manifest_type(manifest)
        if media_type:
            await registry_changes.put_manifest(
                self._registry, repository, blob.digest, manifest, media_type
            )
            return
        if not await self._has(repository, blob):
            await registry_changes.push_blob(self._registry, repository, blob.digest, content)

    async def delete(self, blob: BlobName) -> None:
        """Delete it, as a blob and as a manifest; most registries must be told to allow it."""
        self._check_writable(blob)
        repository = self._registry.place.repository(blob.namespace)
        for kind in ("manifests", "blobs"):
            await registry_changes.delete(self._registry, repository, f"{kind}/{blob.digest}")

    async def metainfo(self, blob: BlobName) -> bytes:
        """There is none."""
        raise NotFound("a registry has no place for metainfo", digest=str(blob.digest))

    async def put_metainfo(self, blob: BlobName, encoded: bytes) -> None:
        """Nothing: a registry has no place for it."""
        del blob, encoded

    async def _has(self, repository: str, blob: BlobName) -> bool:
        with contextlib.suppress(NotFound):
            await self._registry.blob_size(repository, blob.digest)
            return True
        return False

    def _known(self, blob: BlobName) -> str:
        try:
            return self._registry.place.repository(blob.namespace)
        except InvalidName as fault:
            raise NotFound("no registry has a repository of that name",
                           namespace=blob.namespace) from fault  # fmt: skip

    def _check_writable(self, blob: BlobName) -> None:
        if not self._writable:
            raise Unsupported("this registry is only read", digest=str(blob.digest))


async def _json(content: Content) -> bytes:
    """All of it, if it may be a manifest by how it begins; else nothing."""
    found = bytearray()
    async with contextlib.aclosing(content.chunks()) as chunks:
        async for chunk in chunks:
            found += chunk
            if not found.lstrip().startswith(b"{"):
                return b""
    return bytes(found)


def _manifest_type(content: bytes) -> str:
    """The media type of a manifest; empty if it is something else."""
    if not content:
        return ""
    try:
        return media_type_of(content)
    except Misuse:
        return ""


def upstream_blobs(upstream: RemoteRegistry) -> BlobBackend:
    """The blobs of a pull-through upstream, which is only read."""
    return RegistryBlobs(upstream)


@asynccontextmanager
async def opened_registry(settings: BackendSettings) -> AsyncIterator[BlobBackend]:
    """The registry of a backend ``registry+https://host/prefix``; it need not be there yet.

    Raises:
        Misuse: the url or the options are of no use.

    """
    async with opened(place_of_backend(settings)) as registry:
        yield RegistryBlobs(registry, writable=not settings.read_only)
