"""The tracker's HTTP API for preheats: heartbeats of agents, and those who preheat."""

import re
import time

import msgspec
from aiohttp import web

from octopull.http.server import json_answer
from octopull.kernel import documents
from octopull.kernel.errors import Misuse, NotFound
from octopull.placement.heartbeats import Heartbeat, Preheat
from octopull.placement.preheats import Preheats

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HEARTBEATS = msgspec.json.Decoder(Heartbeat)
_PREHEATS = msgspec.json.Decoder(Preheat)


class PreheatsApi:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(self, preheats: Preheats) -> None:
        self._preheats = preheats

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.add_routes(
            [
                web.post("/agents", self.beat),
                web.put("/preheats/{id}", self.put),
                web.get("/preheats/{id}", self.standing),
                web.delete("/preheats/{id}", self.cancel),
            ]
        )

    async def beat(self, request: web.Request) -> web.Response:
        """Note that an agent is there and how far it is; tell it what to do."""
        told = documents.read(_HEARTBEATS.decode, await request.read(), "a heartbeat")
        return json_answer(self._preheats.beat(told, time.monotonic()))

    async def put(self, request: web.Request) -> web.Response:
        """Let a preheat stand; its id follows from its content, so repeating it is safe."""
        preheat = documents.read(_PREHEATS.decode, await request.read(), "a preheat")
        if preheat.id != request.match_info["id"]:
            raise Misuse("a preheat's id follows from its content", id=preheat.id)
        self._preheats.put(preheat, time.monotonic())
        return web.Response(status=204)

    async def standing(self, request: web.Request) -> web.Response:
        """How far it is."""
        return json_answer(self._preheats.standing(_id(request), time.monotonic()))

    async def cancel(self, request: web.Request) -> web.Response:
        """Take it back."""
        self._preheats.cancel(_id(request), time.monotonic())
        return web.Response(status=204)


def _id(request: web.Request) -> str:
    text = request.match_info["id"]
    if _ID.fullmatch(text) is None:
        raise NotFound("no such preheat")
    return text
