"""Repositories that are not everybody's: who has no right to one gets nothing that is only there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from octopull.clients.tag_index import TagIndex
from octopull.config.access import AccessSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.oci.manifests import INDEXES, Manifest, missing
from octopull.registry.access.access import opened
from octopull.registry.access.door import Door, caller_of
from octopull.registry.access.fetched_signatures import Read
from octopull.registry.access.signed import Signed
from octopull.registry.access.token_service import TokenService
from octopull.registry.held import Held
from octopull.runtime.tasks import Tasks
from octopull.security.policy import Action
from octopull.security.scopes import REPOSITORY, SIGN
from octopull.security.signatures import Demands


class Private:
    """What handlers ask once the door let a request in; where access is not set there is none."""

    def __init__(self, door: Door, tags: TagIndex, read: Read, service: str) -> None:
        self._door = door
        self._tags = tags
        self._held = Held(tags, door.access.settings.held_s)
        hold_s = door.access.settings.held_s
        self.signed = Signed(partial(_demands, door), tags, read, hold_s, service)

    def may(self, request: web.Request, action: Action, repository: str) -> bool:
        """Whether the caller may do something beside what the request is about."""
        return self._door.may(request, action, repository)

    def may_sign(self, request: web.Request, repository: str) -> bool:
        """Whether the caller may read what has to be signed and is not yet."""
        grants = caller_of(request).grants or ()
        return self.may(request, Action.PUSH, repository) or any(
            one.allows(REPOSITORY, repository, SIGN) for one in grants
        )

    async def check(self, request: web.Request, repository: str, digest: Digest) -> None:
        """Returns if the blob or manifest is of ``repository``, or the caller sees all.

        Raises:
            NotFound: it isn't. Unavailable: nobody can tell.

        """
        if not self._door.sees_all(request):
            await self._held.check(repository, digest)

    async def check_manifest(self, repository: str, digest: Digest) -> None:
        """As ``check``, of what is a manifest there; whatever the caller sees."""
        await self._held.check_manifest(repository, digest)

    def learn(self, repository: str, digest: Digest, manifest: Manifest) -> None:
        """The repository was found to hold this manifest."""
        self._held.learn(repository, digest, manifest.references)

    async def check_references(self, repository: str, manifest: Manifest) -> None:
        """Returns if all that the manifest needs was pushed to ``repository``, or mounted there.

        An index must list manifests that were pushed as such: they were looked at then.

        Raises:
            MissingReference: something was not.

        """
        needed = [one for one in manifest.references if one.required]
        lists = manifest.media_type in INDEXES
        manifests = [one.digest for one in needed if lists or one.is_manifest]
        blobs = [one.digest for one in needed if not (lists or one.is_manifest)]
        held = await self._tags.held(repository, manifests=manifests, blobs=blobs)
        for digest in (*manifests, *blobs):
            if digest not in held:
                raise missing(digest)


_UNDEMANDING = Demands()


def _demands(door: Door) -> Demands:
    policy = door.access.files.policy
    return _UNDEMANDING if policy is None else policy.now.signatures


@asynccontextmanager
async def guarded(
    app: web.Application, settings: AccessSettings | None, tags: TagIndex, read: Read, service: str
) -> AsyncIterator[Private | None]:
    """Put a door before all routes of ``app``; None without settings: then all is open.

    ``read`` gets signatures, where they are demanded.

    Raises:
        Misuse: a file of access is wrong, or what reads it is not installed.

    """
    if settings is None:
        yield None
        return
    # Issuers are not of the cluster: who vouches for its services does not for them.
    async with Http() as http, Tasks() as tasks:
        access = await opened(settings, http, service, tasks)
        door = Door(access, service)
        app.middlewares.append(door.middleware())
        if settings.token_service is not None and access.files.signer is not None:
            TokenService(access, settings.token_service, access.files.signer).add_to(app)
        yield Private(door, tags, read, service)
