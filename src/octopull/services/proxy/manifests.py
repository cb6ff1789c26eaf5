"""Manifests read and written through the proxy (distribution-spec 1.1, end-3 and end-7)."""

import asyncio

from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.clients.tag_index import TagIndex
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidDigest, InvalidManifest, NotFound, TooLarge
from octopull.kernel.names import TagName
from octopull.oci.errors import OciCode, exact
from octopull.oci.manifests import MANIFEST_BYTES_MAX, Descriptor, Manifest, media_type_of, parse
from octopull.services.proxy.responses import about

CHECKS_AT_ONCE = 16


class ManifestsApi:
    """HEAD, GET and PUT of manifests, by tag and by digest."""

    def __init__(self, origins: OriginCluster, tags: TagIndex) -> None:
        self._origins = origins
        self._tags = tags

    async def get(self, request: web.Request) -> web.Response:
        """The exact bytes that were pushed."""
        repository, reference = _target(request)
        try:
            digest = (
                reference
                if isinstance(reference, Digest)
                else await self._tags.resolve(TagName(repository, reference))
            )
            content = await self._origins.read(repository, digest, MANIFEST_BYTES_MAX)
        except (NotFound, TooLarge) as fault:
            raise exact(NotFound("no such manifest"), OciCode.MANIFEST_UNKNOWN) from fault
        headers = {**about(digest), "Content-Type": media_type_of(content)}
        return web.Response(body=content, headers=headers)

    async def put(self, request: web.Request) -> web.Response:
        """Store the bytes and, for a tag, let it stand for them; refused if parts are missing."""
        repository, reference = _target(request)
        content = await _read(request)
        manifest = parse(content, request.headers.get("Content-Type"))
        digest = Digest.of(content)
        if isinstance(reference, Digest) and reference != digest:
            raise InvalidDigest("the manifest has another digest", found=str(digest))
        await self._check_references(repository, manifest)
        await self._origins.push(repository, digest, content)
        if isinstance(reference, str):
            await self._tags.put(TagName(repository, reference), digest)
        headers = {**about(digest), "Location": f"/v2/{repository}/manifests/{digest}"}
        if manifest.subject is not None:
            headers["OCI-Subject"] = str(manifest.subject)
        return web.Response(status=201, headers=headers)

    async def _check_references(self, repository: str, manifest: Manifest) -> None:
        gate = asyncio.Semaphore(CHECKS_AT_ONCE)

        async def check(reference: Descriptor) -> None:
            async with gate:
                try:
                    await self._origins.stat(repository, reference.digest)
                except NotFound as fault:
                    raise exact(
                        InvalidManifest(f"refers to {reference.digest}, which was not pushed"),
                        OciCode.MANIFEST_BLOB_UNKNOWN,
                    ) from fault

        await asyncio.gather(*(check(one) for one in manifest.references if one.required))


async def _read(request: web.Request) -> bytes:
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > MANIFEST_BYTES_MAX:
            raise TooLarge("the manifest is beyond the limit", bytes_max=MANIFEST_BYTES_MAX)
    return bytes(content)


def _target(request: web.Request) -> tuple[str, Digest | str]:
    repository = names.repository(request.match_info["repository"])
    return repository, names.reference(request.match_info["reference"])
