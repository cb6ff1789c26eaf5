"""``GET /preload/tags/{tag}`` (Kraken's): the runtime of this host pulls through this agent."""

import asyncio

from aiohttp import web

from octopull.clients.tag_index import TagIndex
from octopull.config.preheating import PreloadSettings
from octopull.http.serving import Listening
from octopull.kernel.errors import Unavailable, Unsupported
from octopull.kernel.names import TagName
from octopull.observability import logs
from octopull.services.agent.runtimes import runtime_of

log = logs.get("agent")
PRELOADS_MAX = 16
"""Preloads asked for at once, of which ``AT_ONCE`` are under way."""

AT_ONCE = 2


class Preloads:
    """The handler; off unless a runtime is configured."""

    def __init__(self, tags: TagIndex, settings: PreloadSettings) -> None:
        self._tags = tags
        self._settings = settings
        self._agent: Listening | None = None
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._asked = 0

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.add_routes([web.get("/preload/tags/{tag:.+}", self.preload, allow_head=False)])

    def listening(self, agent: Listening) -> None:
        """Say where the runtime is to pull from; until then preloads are refused."""
        self._agent = agent

    async def preload(self, request: web.Request) -> web.Response:
        """Answer 200 once the runtime has the image, else with the runtime's own words."""
        runtime = self._settings.runtime
        wanted = request.query.get("runtime", runtime)
        if not runtime or wanted != runtime:
            raise Unsupported(f"this agent preloads by {runtime or 'no runtime'}: see "
                              "agent.preload.runtime")  # fmt: skip
        name = TagName.parse(request.match_info["tag"])
        digest = await self._tags.resolve(name)
        if self._agent is None or self._asked >= PRELOADS_MAX:
            raise Unavailable("too many preloads at once", most=PRELOADS_MAX)
        self._asked += 1
        try:
            async with self._gate:
                namespace = request.query.get("namespace", "")
                await runtime_of(self._settings).pull(self._agent, name, namespace)
        finally:
            self._asked -= 1
        log.info("preload.done", runtime=runtime, tag=str(name), digest=digest.short)
        return web.json_response({"tag": str(name), "digest": str(digest), "runtime": runtime})
