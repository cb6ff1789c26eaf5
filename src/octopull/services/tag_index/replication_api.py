"""Replication over HTTP: how far remotes are behind, and where they differ."""

from contextlib import aclosing

from aiohttp import web

from octopull.clients.replication import Ended
from octopull.http import queries
from octopull.http.server import json_answer, json_lines, write_line
from octopull.kernel.errors import Fault
from octopull.replication.comparing import Comparison, reconcile
from octopull.services.tag_index.replication import Replication


class ReplicationApi:
    """``GET /replication``, ``POST /replication/<remote>/reconcile?dry_run=1&overwrite=1``, a JSON
    document per line, the last one ``ended``; ``DELETE /replication/<remote>/tasks``.
    """

    def __init__(self, replication: Replication) -> None:
        self._replication = replication

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [
                web.get("/replication", self.progress),
                web.post("/replication/{remote}/reconcile", self.reconcile),
                web.delete("/replication/{remote}/tasks", self.forget),
            ]
        )

    async def progress(self, _: web.Request) -> web.Response:
        """How much each remote has yet to be told of, and what ails it."""
        return json_answer(await self._replication.progress())

    async def forget(self, request: web.Request) -> web.Response:
        """Forget what a remote was to be told of."""
        return json_answer(await self._replication.forget(request.match_info["remote"]))

    async def reconcile(self, request: web.Request) -> web.StreamResponse:
        """Compare, a line for each repository; what ends it early is told in the last."""
        dry_run, overwrite = queries.flag(request, "dry_run"), queries.flag(request, "overwrite")
        remote = await self._replication.remote(request.match_info["remote"])
        comparison = Comparison(self._replication.book, remote)
        response = json_lines()
        await response.prepare(request)
        failure = ""
        try:
            found = reconcile(comparison, dry_run=dry_run, overwrite=overwrite)
            async with aclosing(found) as compared:
                async for one in compared:
                    await write_line(response, one)
        except Fault as fault:
            failure = str(fault)
        await write_line(response, Ended(failure=failure))
        return response
