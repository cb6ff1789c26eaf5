"""Blobs as replication reads them from origins that fail."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from octopull.clients.origin import OriginCluster
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Unavailable
from octopull.replication.blobs import BREAKS_MAX, OriginBlob
from support.servers.front import listening


@asynccontextmanager
async def origin(answers: list[bytes]) -> AsyncIterator[str]:
    """The address of one that answers reads by the first of ``answers``, until one is left."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "6"})
        return web.Response(status=206, body=answers.pop(0) if len(answers) > 1 else answers[0])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with listening(web.AppRunner(app)) as address:
        yield address


async def test_a_blob_that_ends_early_is_gone_on_with() -> None:
    async with Http() as http, origin([b"ab", b"cd", b"", b"ef"]) as address:
        blob = OriginBlob(OriginCluster(http, [address], 1), "a/b", Digest.of(b"abcdef"), 6)
        assert b"".join([chunk async for chunk in blob.chunks()]) == b"abcdef"


async def test_a_blob_that_always_ends_early_is_given_up() -> None:
    answers = [b"ab", *[b""] * (BREAKS_MAX + 1)]
    async with Http() as http, origin(answers) as address:
        blob = OriginBlob(OriginCluster(http, [address], 1), "a/b", Digest.of(b"abcdef"), 6)
        with pytest.raises(Unavailable, match="broke off"):
            _ = [chunk async for chunk in blob.chunks()]
