"""Small images, pushed and pulled as clients do, whole and in order."""

from typing import NamedTuple

from octopull.clients.registry import ACCEPT
from octopull.kernel.digest import Digest
from support.cluster import content
from support.registry import Registry, manifest


class Image(NamedTuple):
    """An image's manifest and blobs."""

    manifest: bytes
    blobs: list[bytes]


def image(seed: int, *layer_bytes: int) -> Image:
    """A configuration, and layers of those sizes."""
    blobs = [b"{}", *(content(size, seed + 1000 * at) for at, size in enumerate(layer_bytes))]
    return Image(manifest(*blobs), blobs)


async def push(registry: Registry, repository: str, tag: str, pushed: Image) -> None:
    """All of it, the manifest last."""
    for blob in pushed.blobs:
        await registry.push_blob(blob, repository)
    answer = await registry.push_manifest(repository, tag, pushed.manifest)
    assert answer.status == 201, answer


async def pull(registry: Registry, repository: str, tag: str, pushed: Image) -> None:
    """All of it, each byte as it was pushed."""
    answer = await registry("GET", f"/v2/{repository}/manifests/{tag}", Accept=ACCEPT)
    assert (answer.status, answer.body) == (200, pushed.manifest), answer
    for blob in pushed.blobs:
        answer = await registry("GET", f"/v2/{repository}/blobs/{Digest.of(blob)}")
        assert answer.status == 200, answer
        assert answer.body == blob
