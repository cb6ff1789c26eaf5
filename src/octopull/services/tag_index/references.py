"""Whether all that a tag refers to is there: nested indexes to their last layer."""

import asyncio

from octopull.clients.origin import OriginCluster
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidManifest, NotFound
from octopull.oci.errors import OciCode
from octopull.oci.manifests import MANIFEST_BYTES_MAX, Manifest, parse

DEPTH_MAX = 8
MANIFESTS_MAX = 1000
CHECKS_AT_ONCE = 16


async def check(origins: OriginCluster, namespace: str, digest: Digest) -> None:
    """Walk down from the manifest ``digest`` and ask the origins for each blob once.

    Raises:
        InvalidManifest: something is missing, or the nesting is beyond all reason.
        Unavailable: the origins could not be asked.

    """
    seen, blobs, level = {digest}, set[Digest](), [digest]
    for _ in range(DEPTH_MAX):
        below: list[Digest] = []
        for one in level:
            for reference in (await _manifest(origins, namespace, one)).references:
                if reference.is_manifest and reference.digest not in seen:
                    seen.add(reference.digest)
                    below.append(reference.digest)
                elif reference.required and not reference.is_manifest:
                    blobs.add(reference.digest)
        if len(seen) > MANIFESTS_MAX:
            raise InvalidManifest("refers to too many manifests", most=MANIFESTS_MAX)
        if not below:
            break
        level = below
    else:
        raise InvalidManifest("indexes are nested too deep", most=DEPTH_MAX)
    await _stat_all(origins, namespace, blobs)


async def _manifest(origins: OriginCluster, namespace: str, digest: Digest) -> Manifest:
    try:
        return parse(await origins.read(namespace, digest, MANIFEST_BYTES_MAX), None)
    except NotFound as fault:
        raise _missing(digest) from fault


async def _stat_all(origins: OriginCluster, namespace: str, blobs: set[Digest]) -> None:
    gate = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def stat(digest: Digest) -> None:
        async with gate:
            try:
                await origins.stat(namespace, digest)
            except NotFound as fault:
                raise _missing(digest) from fault

    await asyncio.gather(*(stat(digest) for digest in sorted(blobs)))


def _missing(digest: Digest) -> InvalidManifest:
    return InvalidManifest(f"refers to {digest}, which was not pushed",
                           oci=OciCode.MANIFEST_BLOB_UNKNOWN)  # fmt: skip
