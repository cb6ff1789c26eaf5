"""All that an image is made of: its manifests, through nested indexes, and their blobs."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from octopull.kernel.digest import Digest
from octopull.kernel.errors import TooLarge
from octopull.oci.manifests import parse
from octopull.oci.platforms import for_platforms

MANIFESTS_MAX = 200
BLOBS_MAX = 10_000

Read = Callable[[Digest], Awaitable[bytes]]
"""The exact bytes of a manifest."""


@dataclass(frozen=True, slots=True)
class Content:
    """One manifest or blob of an image; ``size`` in bytes."""

    digest: Digest
    size: int
    is_manifest: bool


async def contents(read: Read, digest: Digest, platforms: Collection[str] = ()) -> list[Content]:
    """Each thing that the manifest ``digest`` leads to once, manifests first, itself included.

    Of indexes, only the images for ``platforms`` (see ``oci/platforms.py``). What lives
    elsewhere (foreign layers) is left out.

    Raises:
        NotFound: nothing is for these platforms. InvalidManifest: one that is none.
        TooLarge: more than ``MANIFESTS_MAX`` or ``BLOBS_MAX``.

    """
    manifests: dict[Digest, Content] = {}
    blobs: dict[Digest, Content] = {}
    waiting = [digest]
    while waiting:
        at = waiting.pop()
        if at in manifests:
            continue
        if len(manifests) >= MANIFESTS_MAX:
            raise TooLarge("an image of too many manifests", most=MANIFESTS_MAX)
        content = await read(at)
        manifests[at] = Content(at, len(content), is_manifest=True)
        for one in for_platforms(content, parse(content, None), platforms):
            if one.is_manifest:
                waiting.append(one.digest)
            elif one.required:
                blobs.setdefault(one.digest, Content(one.digest, one.size, is_manifest=False))
        if len(blobs) > BLOBS_MAX:
            raise TooLarge("an image of too many blobs", most=BLOBS_MAX)
    return [*manifests.values(), *blobs.values()]
