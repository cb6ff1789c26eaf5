"""Quotas over HTTP: whether there is room for a push, and how full they are."""

import asyncio

import msgspec
from aiohttp import web

from octopull.clients.quotas import ArrivingBlobs
from octopull.config.quotas import BYTES_MAX
from octopull.http.server import json_answer
from octopull.kernel import documents, names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.oci.manifests import REFERENCES_MAX
from octopull.services.tag_index.measuring import Measuring
from octopull.services.tag_index.quota_book import QuotaBook

_ARRIVING = msgspec.json.Decoder(ArrivingBlobs)


def read(body: bytes) -> tuple[dict[Digest, int], int]:
    """What arrives, by sizes in bytes, and bytes besides.

    Raises:
        Misuse: no such question. InvalidDigest: of what has none.

    """
    told = documents.read(_ARRIVING.decode, body, "what arrives")
    if len(told.sizes) > REFERENCES_MAX + 1:
        raise Misuse("too many digests at once", most=REFERENCES_MAX + 1)
    if not all(0 <= size <= BYTES_MAX for size in (told.more, *told.sizes.values())):
        raise Misuse("sizes are numbers of bytes")
    return {Digest.parse(text): size for text, size in told.sizes.items()}, told.more


class QuotaApi:
    """``POST /repositories/<repository>/room``; ``GET /quotas``."""

    def __init__(self, quotas: QuotaBook, measuring: Measuring) -> None:
        self._quotas = quotas
        self._measuring = measuring

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [
                web.post("/repositories/{repository:.+}/room", self.room),
                web.get("/quotas", self.uses),
            ]
        )

    async def room(self, request: web.Request) -> web.Response:
        """By quota, how many bytes may still be added; 403 if what arrives does not fit."""
        repository = names.repository(request.match_info["repository"])
        arriving, more = read(await request.read())
        left = await asyncio.to_thread(self._quotas.room, repository, arriving, more)
        return json_answer(left)

    async def uses(self, _: web.Request) -> web.Response:
        """How full each quota is, measured now."""
        return json_answer(await self._measuring.uses())
