"""Whether a cluster has, in the end, all that another replicates to it."""

from collections.abc import Sequence

import aiohttp

from octopull.kernel.digest import Digest
from support.chaos.client import Noted
from support.chaos.history import Tag
from support.chaos.verdict import soon
from support.production import Node, Production
from support.registry import Answer, Registry


async def differing(noted: Noted, here: Production, there: Production) -> list[str]:
    """What of the tags that clients moved ``here``, as ``noted``, is not the same ``there``."""
    return [
        sentence
        for tag in noted.history.tags
        if (sentence := await _difference(noted, tag, here, there))
    ]


async def _difference(noted: Noted, tag: Tag, here: Production, there: Production) -> str:
    path = f"/v2/{tag.repository}/manifests/{tag.name}"
    bodies: list[bytes | None] = []

    async def same() -> bool:
        proxies = here.proxies[0], there.proxies[0]
        answers = [await _asked(noted.session, proxy, path) for proxy in proxies]
        bodies[:] = [one.body if one and one.status == 200 else None for one in answers]
        return bodies[0] == bodies[1] and all(one and one.status in {200, 404} for one in answers)

    if not await soon(same):
        return f"{tag} is {bodies[0]!r} at one, {bodies[1]!r} at the other"
    images = noted.books.images.values()
    found = [one for one in images if one.manifest == bodies[0]]
    return await _lacking(noted.session, tag, found[0].blobs, there.agents[0]) if found else ""


async def _lacking(
    session: aiohttp.ClientSession, tag: Tag, blobs: Sequence[bytes], agent: Node
) -> str:
    for blob in blobs:
        path = f"/v2/{tag.repository}/blobs/{Digest.of(blob)}"

        async def there(path: str = path, blob: bytes = blob) -> bool:
            answer = await _asked(session, agent, path)
            return answer is not None and answer.status == 200 and answer.body == blob

        if not await soon(there):
            return f"{tag} lacks {Digest.of(blob)} at {agent.name}"
    return ""


async def _asked(session: aiohttp.ClientSession, node: Node, path: str) -> Answer | None:
    try:
        return await Registry(session, node.address)("GET", path)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
