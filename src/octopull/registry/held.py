"""What repositories hold, and what they only would like to: nobody gets a blob by its digest alone.

What the tag index said is believed for a while. A manifest that a repository holds makes it hold
what that refers to, which saves most questions.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable

from octopull.clients.tag_index import TagIndex
from octopull.kernel.digest import Digest
from octopull.kernel.errors import NotFound, Unavailable
from octopull.oci.manifests import Descriptor

HELD_MAX = 200_000
"""Pairs of a repository and a digest that are remembered; about 50 MB."""


class Held:
    """Asks ``tags``, and believes it for ``hold_s`` seconds, or as long as it does not answer."""

    def __init__(self, tags: TagIndex, hold_s: float) -> None:
        self._tags = tags
        self._hold_s = hold_s
        self._until_s: OrderedDict[tuple[str, Digest], float] = OrderedDict()
        self._manifests: OrderedDict[tuple[str, Digest], None] = OrderedDict()

    async def check(self, repository: str, digest: Digest) -> None:
        """Returns if ``repository`` holds the blob or manifest.

        Raises:
            NotFound: it doesn't. Unavailable: nobody can tell, and it was never seen to.

        """
        key = repository, digest
        until_s = self._until_s.get(key)
        if until_s is not None and time.monotonic() < until_s:
            return
        try:
            held = await self._tags.held(repository, blobs=[digest])
        except Unavailable:
            if until_s is None:
                raise
            return
        if not held:
            self._until_s.pop(key, None)
            raise NotFound("not in this repository")
        self._remember(key)

    async def check_manifest(self, repository: str, digest: Digest) -> None:
        """Returns if ``repository`` holds it as a manifest, so that what it refers to is held, too.

        Asked each time, since what was deleted is no longer held.

        Raises:
            as ``check``.

        """
        key = repository, digest
        try:
            held = await self._tags.held(repository, manifests=[digest])
        except Unavailable:
            if key not in self._manifests:
                raise
            return
        if not held:
            self._manifests.pop(key, None)
            raise NotFound("not in this repository")

    def learn(self, repository: str, digest: Digest, references: Iterable[Descriptor]) -> None:
        """The manifest ``digest`` is of ``repository``, and refers to these."""
        self._manifests[repository, digest] = None
        self._manifests.move_to_end((repository, digest))
        while len(self._manifests) > HELD_MAX:
            self._manifests.popitem(last=False)
        for one in references:
            if one.required:
                self._remember((repository, one.digest))

    def _remember(self, key: tuple[str, Digest]) -> None:
        self._until_s[key] = time.monotonic() + self._hold_s
        self._until_s.move_to_end(key)
        while len(self._until_s) > HELD_MAX:
            self._until_s.popitem(last=False)
