"""Under which keys a store keeps blobs, and metainfo beside them.

    sharded_docker_blob    docker/registry/v2/blobs/<algorithm>/<2 hex>/<hex>/data
    identity               <hex>; of other algorithms than SHA-256, <algorithm>/<hex>

The first is docker-registry's (distribution, registry/storage/paths.go), both are Kraken's names
for them. ``backends/tag_keys.py`` has the keys of tags.
"""

from octopull.config.backends import BlobLayout
from octopull.kernel.digest import Algorithm, Digest

_DOCKER = "docker/registry/v2/blobs"


def blob_key(layout: BlobLayout, digest: Digest) -> str:
    """Where the blob's bytes are."""
    if layout is BlobLayout.SHARDED_DOCKER_BLOB:
        return f"{_folder(digest)}/data"
    return (
        digest.hex if digest.algorithm is Algorithm.SHA256 else f"{digest.algorithm}/{digest.hex}"
    )


def metainfo_key(layout: BlobLayout, digest: Digest) -> str:
    """Where its metainfo is; docker-registry looks at no such file, and deletes it with the blob."""
    if layout is BlobLayout.SHARDED_DOCKER_BLOB:
        return f"{_folder(digest)}/octopull.metainfo"
    return f"{blob_key(layout, digest)}.metainfo"


def _folder(digest: Digest) -> str:
    return f"{_DOCKER}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"
