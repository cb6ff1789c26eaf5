"""A handler that reads a request and says nothing, on the server that all services use."""

import asyncio
import sys

from aiohttp import web

from octopull.config.services import Listen
from octopull.http.server import application
from octopull.http.serving import serve


async def announce(request: web.Request) -> web.Response:
    """Read and answer."""
    await request.read()
    return web.Response(body=b"{}", content_type="application/json")


async def main(port: int) -> None:
    """Serve until killed."""
    app = application("noop")
    app.router.add_post("/announce", announce)
    async with serve(app, "noop", Listen(port=port)):
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
