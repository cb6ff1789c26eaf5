"""The origin's HTTP API for what it has yet to write: ``GET /write-back``."""

from aiohttp import web

from octopull.http.server import json_answer
from octopull.services.origin.write_back import WriteBack


class WriteBackApi:
    """The handler; see ``add_to``."""

    def __init__(self, write_back: WriteBack) -> None:
        self._write_back = write_back

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.add_routes([web.get("/write-back", self.progress)])

    async def progress(self, _: web.Request) -> web.Response:
        """How many blobs are on their way to which backend, and what ails it."""
        return json_answer(await self._write_back.progress())
