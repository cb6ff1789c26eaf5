"""Gets the signatures of an image from its repository, as far as is needed to say yes."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from octopull.clients.tag_index import TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound
from octopull.kernel.names import TagName
from octopull.oci import signatures
from octopull.oci.signatures import ARTIFACT_TYPES, MANIFEST_BYTES_MAX, PAYLOAD_BYTES_MAX
from octopull.registry.access.verdicts import About
from octopull.security.signatures import Demands, Signatures

SIGNATURES_MAX = 32
"""Looked at of one image in each form; more don't count."""

Read = Callable[[str, Digest, int], Awaitable[bytes]]
"""A blob of a repository, up to so many bytes.

Raises:
    NotFound, Unavailable; TooLarge: beyond the limit.
"""


class _Named(msgspec.Struct):
    digest: str


class FetchedSignatures:
    """Asks ``tags`` what there is, and reads it by ``read``."""

    def __init__(self, tags: TagIndex, read: Read) -> None:
        self._tags = tags
        self._read = read

    async def refusal(self, about: About, demands: Demands) -> str | None:
        """Why the image does not satisfy ``demands``; None if it does.

        Raises:
            Unavailable: its signatures can't be had now.

        """
        found, told = Signatures(), demands.refusal(about.digest, Signatures(), str(about))
        for kind in (None, *ARTIFACT_TYPES):
            here = Signatures()
            for digest in await self._manifests(about, kind):
                room = SIGNATURES_MAX - here.count
                if room > 0:
                    here = here.with_more(await self._of(about.repository, digest, room))
            if here.count:
                found = found.with_more(here)
                told = await asyncio.to_thread(demands.refusal, about.digest, found, str(about))
            if told is None:
                break
        return told

    async def _manifests(self, about: About, kind: str | None) -> list[Digest]:
        """Those that may sign the image: its referrers of a kind; None: what its tag stands for."""
        if kind is not None:
            found = await self._tags.referrers(
                about.repository, about.digest, kind, SIGNATURES_MAX, ""
            )
            named = [msgspec.json.decode(one, type=_Named).digest for one in found.manifests]
            return [Digest.parse(one) for one in named]
        tag = signatures.tag_of(about.digest)
        if tag is None:
            return []
        try:
            return [await self._tags.resolve(TagName(about.repository, tag))]
        except NotFound:
            return []

    async def _of(self, repository: str, digest: Digest, room: int) -> Signatures:
        """Those of one manifest, the newest ``room``."""
        statements, unreadable = [], 0
        try:
            content = await self._read(repository, digest, MANIFEST_BYTES_MAX)
            parts = signatures.parts(content)[-room:]
        except (NotFound, Misuse):
            return Signatures(unreadable=1)
        for part in parts:
            try:
                payload = await self._read(repository, part.digest, PAYLOAD_BYTES_MAX)
                statements.append(signatures.statement(part, payload))
            except (NotFound, Misuse):
                unreadable += 1
        return Signatures(tuple(statements), unreadable)
