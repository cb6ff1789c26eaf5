"""Which images of an index are for given platforms (OCI image-spec 1.1, "image index")."""

from collections.abc import Collection
from typing import Any

import msgspec

from octopull.kernel.errors import InvalidManifest, NotFound
from octopull.oci.manifests import INDEXES, Descriptor, Manifest


def for_platforms(
    content: bytes, manifest: Manifest, platforms: Collection[str]
) -> tuple[Descriptor, ...]:
    """What ``manifest``, whose bytes are ``content``, refers to for ``platforms``.

    Each is ``os/architecture`` or ``os/architecture/variant``; without a variant, all variants
    are meant. None of them means every platform. Only an index is filtered; what it lists
    without a platform stays.

    Raises:
        NotFound: an index that has nothing for any of them. InvalidManifest: a bad platform.

    """
    if not platforms or manifest.media_type not in INDEXES:
        return manifest.references
    listed = msgspec.json.decode(content).get("manifests", [])
    found = tuple(
        reference
        for reference, entry in zip(manifest.references, listed, strict=True)
        if _meant(entry.get("platform"), platforms)
    )
    if not found:
        raise NotFound(f"the image index has nothing for {', '.join(sorted(platforms))}")
    return found


def _meant(platform: Any, platforms: Collection[str]) -> bool:
    if platform is None:
        return True
    if not isinstance(platform, dict):
        raise InvalidManifest("a platform is a JSON object")
    parts = [platform.get(name) for name in ("os", "architecture", "variant")]
    written = "/".join(part for part in parts if isinstance(part, str) and part)
    return any(written == one or written.startswith(f"{one}/") for one in platforms)
