"""All that a manifest leads to: nested indexes to their last layer, and whether it is there."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from octopull.clients.origin import OriginCluster
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidManifest, NotFound, Unavailable
from octopull.oci.manifests import MANIFEST_BYTES_MAX, Descriptor, missing, parse
from octopull.services.tag_index.store import Pushed

DEPTH_MAX = 8
MANIFESTS_MAX = 1000
WALK_S = 55.0
"""Less than the proxy waits for an answer (``clients/tag_index.py``), and than collection does."""


async def walk(origins: OriginCluster, namespace: str, digest: Digest) -> list[Pushed]:
    """As ``_walk``, within ``WALK_S``.

    Raises:
        as ``_walk``; Unavailable: it takes too long.

    """
    try:
        async with asyncio.timeout(WALK_S):
            return await _walk(origins, namespace, digest)
    except TimeoutError as error:
        raise Unavailable("the manifest takes too long to check", most_s=WALK_S) from error


async def _walk(origins: OriginCluster, namespace: str, digest: Digest) -> list[Pushed]:
    """The manifest ``digest`` and those it leads to, itself first.

    All they refer to is kept at the origins: whoever records them soon afterwards need not
    fear garbage collection.

    Raises:
        MissingReference: something is missing. InvalidManifest: nested beyond all reason.
        Unavailable: the origins could not be asked.

    """
    found: dict[Digest, Pushed] = {}
    level = [digest]
    for _ in range(DEPTH_MAX):
        if len(found) + len(level) > MANIFESTS_MAX:
            raise InvalidManifest("refers to too many manifests", most=MANIFESTS_MAX)
        for one in level:
            found[one] = await _read(origins, namespace, one)
        level = list(_below(found, level))
        if not level:
            break
    else:
        raise InvalidManifest("indexes are nested too deep", most=DEPTH_MAX)
    sizes = await _keep_all(origins, namespace, found)
    return [_sized(one, sizes) for one in found.values()]


def _sized(pushed: Pushed, sizes: Mapping[Digest, int]) -> Pushed:
    needed = {one.digest for one in pushed.manifest.references if one.required}
    return replace(pushed, sizes={one: sizes[one] for one in needed if one in sizes})


def _below(found: dict[Digest, Pushed], level: list[Digest]) -> Iterator[Digest]:
    """Manifests that those of ``level`` refer to and that were not seen, each once."""
    seen = set(found)
    for digest in level:
        for reference in found[digest].manifest.references:
            if reference.is_manifest and reference.digest not in seen:
                seen.add(reference.digest)
                yield reference.digest


async def _read(origins: OriginCluster, namespace: str, digest: Digest) -> Pushed:
    try:
        content = await origins.read(namespace, digest, MANIFEST_BYTES_MAX)
    except NotFound as fault:
        raise missing(digest) from fault
    return Pushed(digest, len(content), parse(content, None))


async def _keep_all(
    origins: OriginCluster, namespace: str, found: Mapping[Digest, Pushed]
) -> dict[Digest, int]:
    """Sizes in bytes, as origins tell them, of all that is needed."""
    references: dict[Digest, Descriptor] = {}
    for pushed in found.values():
        references.update((one.digest, one) for one in pushed.manifest.references)
    needed = [*found, *(one.digest for one in references.values() if one.required)]
    kept = await origins.keep(namespace, needed)
    for digest in needed:
        if digest not in kept:
            raise missing(digest)
    foreign = [one.digest for one in references.values() if not one.required]
    # What may live elsewhere need not be here, and its absence need not be certain.
    with contextlib.suppress(Unavailable):
        await origins.keep(namespace, foreign)
    return kept
