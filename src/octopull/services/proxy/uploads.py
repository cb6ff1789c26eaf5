"""Blob uploads (distribution-spec 1.1, end-4 to end-6, end-11, end-13, end-14).

The proxy keeps no session: the token in the ``Location`` names the origin that does, so any
proxy can go on with an upload that another one began.
"""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Denied,
    Fault,
    InvalidDigest,
    InvalidName,
    InvalidRange,
    NotFound,
)  # fmt: skip
from octopull.oci.errors import OciCode, exact
from octopull.oci.ranges import parse_content_range
from octopull.registry.access.private import Private
from octopull.registry.headers import VERSION_HEADER, about
from octopull.registry.limits import Limits
from octopull.registry.pull_through import source_of
from octopull.security.policy import Action
from octopull.services.proxy.repositories import Repositories
from octopull.services.proxy.rooms import Rooms, is_replicated

CHUNK_BYTES = 256 * 1024


class UploadsApi:
    """Sessions, passed on to an origin."""

    def __init__(
        self, origins: OriginCluster, repositories: Repositories, chunk_bytes_min: int,
        private: Private | None, limits: Limits, rooms: Rooms,
    ) -> None:  # fmt: skip
        self._private = private
        self._limits = limits
        self._rooms = rooms
        self._origins = origins
        self._repositories = repositories
        self._hints = {"OCI-Chunk-Min-Length": str(chunk_bytes_min)} if chunk_bytes_min else {}

    async def start(self, request: web.Request) -> web.Response:
        """Open a session; or mount, or take the whole blob at once."""
        repository = names.repository(request.match_info["repository"])
        mounted = await self._mount(request, repository)
        if mounted is not None:
            return _created(repository, mounted)
        # A digest that can't be one is told before any byte is sent.
        whole = request.query.get("digest")
        digest = None if whole is None else Digest.parse(whole)
        if not is_replicated(request):
            await self._rooms.begin(repository)
        if digest is None:
            self._limits.check_uploads(request)
            token = await self._origins.uploads.start(repository)
            self._limits.upload_heard(request, token)
            return self._accepted(repository, token, 0)
        async with self._origins.uploads.opened(repository) as token:
            try:
                await self._receive(request, repository, token, 0)
                await self._commit(request, repository, token, digest)
            finally:
                self._rooms.ended(token)
        return _created(repository, digest)

    async def _mount(self, request: web.Request, repository: str) -> Digest | None:
        """The blob that a mount asked for, if it exists in the other repository, or in any.

        Where access is set: if the other one is named, has it, and may be pulled from.
        """
        query, named = request.query, source_of(request)
        if "mount" not in query or (self._private is not None and named is None):
            return None
        try:
            digest = Digest.parse(query["mount"])
            if named is not None:
                source = names.repository(named)
                if not await self._may_mount(request, source, digest):
                    return None
                size = await self._repositories.keep(source, digest)
                # Where it is kept elsewhere, that need not be where this repository's blobs are.
                await self._origins.holders.hold(source, digest)
            else:
                size = await self._repositories.kept(repository, digest)
        except (NotFound, InvalidDigest, InvalidName):
            return None
        replicated = is_replicated(request)
        await self._repositories.pushed(repository, digest, size, replicated=replicated)
        return digest

    async def _may_mount(self, request: web.Request, source: str, digest: Digest) -> bool:
        if self._private is None:
            return True
        if not self._private.may(request, Action.PULL, source):
            return False
        await self._private.check(request, source, digest)
        try:
            await self._private.signed.check_blob(source, digest)
        except Denied:
            return False
        return True

    async def _commit(
        self, request: web.Request, repository: str, token: str, digest: Digest
    ) -> None:
        size, replicated = None, is_replicated(request)
        limited = await self._rooms.limits(repository)
        if limited:
            # Of a session that is over, the commit knows, and the blob has a size if it was one.
            with contextlib.suppress(NotFound):
                size = await self._origins.uploads.size(repository, token)
            if size is not None and not replicated:
                await self._rooms.check(repository, {digest: size})
        await self._origins.uploads.commit(repository, token, digest)
        if limited and size is None:
            size = await self._origins.stat(repository, digest)
        await self._repositories.pushed(repository, digest, size, replicated=replicated)

    @asynccontextmanager
    async def _fitting(self, repository: str, token: str) -> AsyncIterator[None]:
        """A session that is beyond a quota is over: what came of it takes no place."""
        try:
            yield
        except Denied:
            with contextlib.suppress(Fault):
                await self._origins.uploads.abort(repository, token)
            self._ended(token)
            raise

    def _ended(self, token: str) -> None:
        self._limits.upload_ended(token)
        self._rooms.ended(token)

    async def patch(self, request: web.Request) -> web.Response:
        """Add a chunk: at the offset ``Content-Range`` says, or (docker's way) at the end."""
        repository, token = _session(request)
        try:
            offset = await self._offset(request, repository, token)
            async with self._fitting(repository, token):
                size = await self._receive(request, repository, token, offset)
            self._limits.upload_heard(request, token)
        except NotFound as fault:
            raise _unknown() from fault
        except InvalidRange as fault:
            return await self._out_of_order(repository, token, fault)
        return self._accepted(repository, token, size)

    async def put(self, request: web.Request) -> web.Response:
        """Add the last chunk, if there is one, and make the whole a blob."""
        repository, token = _session(request)
        digest = Digest.parse(request.query.get("digest", ""))
        try:
            async with self._fitting(repository, token):
                if request.body_exists and request.content_length != 0:
                    # A session that is over may be what is asked for: the commit knows.
                    with contextlib.suppress(NotFound):
                        await self._receive_last(request, repository, token)
                await self._commit(request, repository, token, digest)
            self._ended(token)
        except NotFound as fault:
            raise _unknown() from fault
        except InvalidRange as fault:
            return await self._out_of_order(repository, token, fault)
        return _created(repository, digest)

    async def get(self, request: web.Request) -> web.Response:
        """Where to resume."""
        repository, token = _session(request)
        try:
            size = await self._origins.uploads.size(repository, token)
        except NotFound as fault:
            raise _unknown() from fault
        return web.Response(status=204, headers=_progress(repository, token, size))

    async def delete(self, request: web.Request) -> web.Response:
        """Cancel."""
        repository, token = _session(request)
        try:
            await self._origins.uploads.abort(repository, token)
            self._ended(token)
        except NotFound as fault:
            raise _unknown() from fault
        return web.Response(status=204, headers=VERSION_HEADER)

    async def _receive_last(self, request: web.Request, repository: str, token: str) -> None:
        """Add the body of a PUT, or nothing of it.

        HTTP libraries repeat a PUT that broke off: what came of it must not come twice.
        """
        offset = await self._offset(request, repository, token)
        try:
            await self._receive(request, repository, token, offset)
        except BaseException:
            with contextlib.suppress(Fault):
                await self._origins.uploads.rewind(repository, token, offset)
            raise

    async def _offset(self, request: web.Request, repository: str, token: str) -> int:
        header = request.headers.get("Content-Range")
        size = await self._origins.uploads.size(repository, token)
        if header is None:
            return size
        span = parse_content_range(header)
        if span.start != size:
            raise InvalidRange("the chunk does not begin where the session ends", size=size)
        if request.content_length is not None and request.content_length != span.length:
            raise InvalidRange("Content-Range and Content-Length differ")
        return size

    async def _receive(self, request: web.Request, repository: str, token: str, offset: int) -> int:
        body: AsyncIterator[bytes] = request.content.iter_chunked(CHUNK_BYTES)
        if not is_replicated(request):
            length = request.content_length
            body = self._rooms.within(repository, token, offset, body, length)
        return await self._origins.uploads.append(
            repository, token, offset, body, request.content_length
        )

    async def _out_of_order(self, repository: str, token: str, fault: InvalidRange) -> web.Response:
        """416, and where to go on."""
        size = await self._origins.uploads.size(repository, token)
        error = {"code": "BLOB_UPLOAD_INVALID", "message": str(fault), "detail": {}}
        return web.json_response(
            {"errors": [error]}, status=416, headers=_progress(repository, token, size)
        )

    def _accepted(self, repository: str, token: str, size: int) -> web.Response:
        headers = {**_progress(repository, token, size), **self._hints}
        return web.Response(status=202, headers=headers)


def _session(request: web.Request) -> tuple[str, str]:
    repository, token = request.match_info["repository"], request.match_info["token"]
    if len(token) > 80:
        raise exact(InvalidName("not an upload session"), OciCode.BLOB_UPLOAD_UNKNOWN)
    return names.repository(repository), token


def _unknown() -> Exception:
    return exact(NotFound("no such upload session"), OciCode.BLOB_UPLOAD_UNKNOWN)


def _progress(repository: str, token: str, size: int) -> dict[str, str]:
    return {
        **VERSION_HEADER,
        "Location": f"/v2/{repository}/blobs/uploads/{token}",
        "Docker-Upload-UUID": token,
        # The specification has no word for "nothing yet"; 0-0 is what registries say.
        "Range": f"0-{max(size - 1, 0)}",
    }


def _created(repository: str, digest: Digest) -> web.Response:
    headers = {**about(digest), "Location": f"/v2/{repository}/blobs/{digest}"}
    return web.Response(status=201, headers=headers)
