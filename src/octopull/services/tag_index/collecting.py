"""Garbage collection over HTTP: asked for, and told of line by line."""

from contextlib import aclosing

from aiohttp import web

from octopull.config.services import GRACE_S_MAX, GcSettings
from octopull.http import queries
from octopull.http.server import json_lines, write_line
from octopull.services.tag_index.collector import Collector


class CollectionApi:
    """``POST /gc?dry_run=1&grace_s=``: a JSON document per line, the last one ``ended``."""

    def __init__(self, collector: Collector, settings: GcSettings) -> None:
        self._collector = collector
        self._settings = settings

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.add_routes([web.post("/gc", self.collect)])

    async def collect(self, request: web.Request) -> web.StreamResponse:
        """Collect; if whoever asked goes away, the collection ends after its page."""
        grace_s = queries.seconds(request, "grace_s", self._settings.grace_s, GRACE_S_MAX)
        dry_run = queries.flag(request, "dry_run")
        response = json_lines()
        async with aclosing(self._collector.collect(grace_s=grace_s, dry_run=dry_run)) as lines:
            async for line in lines:
                if not response.prepared:
                    # Not before the first line: refusals come instead of it, with a status.
                    await response.prepare(request)
                await write_line(response, line)
        return response
