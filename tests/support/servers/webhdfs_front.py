"""A namenode in a bad mood: a front before a real one, which may be a datanode as well."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from support.servers.front import listening


@dataclass
class Front:
    """What the front does; every field may be changed while it runs."""

    behind: str
    """The real namenode."""
    standby: bool = False
    status: int = 0
    """Answer with this, and no exception."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    datanodes: list[str] = field(default_factory=list[str])
    """Where to send those who ask for bytes, one after another, before the real one."""
    excluded: list[str] = field(default_factory=list[str])
    """Datanodes that were asked not to be told."""
    redirects: bool = False
    """Redirect, as namenodes did before they knew ``noredirect``."""
    loses: str = ""
    """Have this operation done, and do not tell."""
    hangs: str = ""
    """Do not answer this operation."""
    body: bytes = b""
    """What is sent as a datanode ..."""
    length: int = 0
    """... and how many bytes are promised."""
    refuses: int = 0
    """Answer what it is sent with this status, at once."""
    stores: int | None = None
    """How many bytes of what it is sent it passes on to the real datanode; None: none at all."""
    asked: list[URL] = field(default_factory=list[URL])
    address: str = ""
    real: URL = field(default_factory=URL)
    """The real datanode."""

    async def namenode(self, request: web.Request) -> web.StreamResponse:
        """WebHDFS's API."""
        self.asked.append(request.url)
        operation = request.query["op"]
        if operation == self.hangs:
            await asyncio.Event().wait()
        if self.standby:
            remote = {"exception": "StandbyException", "message": "READ is not supported"}
            return web.json_response({"RemoteException": remote}, status=403)
        if self.status:
            return web.Response(status=self.status, headers=self.headers)
        self.excluded += filter(None, request.query.get("excludedatanodes", "").split(","))
        path = request.raw_path
        if self.redirects:
            path = path.replace("noredirect=true", "")
        url = URL(f"http://{self.behind}{path}", encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, allow_redirects=False) as answer,
        ):
            body, status, sent = await answer.read(), answer.status, answer.headers.copy()
        if operation == self.loses:
            assert request.transport is not None
            request.transport.abort()
        if operation in {"OPEN", "CREATE"} and self.datanodes and status == 200:
            location = URL(json.loads(body)["Location"], encoded=True)
            self.real = location.origin()
            told = f"{self.datanodes.pop(0)}{location.raw_path_qs}"
            body = json.dumps({"Location": told}).encode()
        headers = {name: sent[name] for name in ("Content-Type", "Location") if name in sent}
        return web.Response(body=body, status=status, headers=headers)

    async def datanode(self, request: web.Request) -> web.StreamResponse:
        """Bytes that may be too few, either way."""
        if request.method == "PUT" and self.refuses:
            return web.Response(status=self.refuses)
        if request.method == "PUT":
            content = await request.read()
            if self.stores is not None:
                place = request.raw_path.removeprefix("/datanode")
                url = URL(f"{self.real}{place}", encoded=True)
                async with (
                    aiohttp.ClientSession() as session,
                    session.put(url, data=content[: self.stores]) as answer,
                ):
                    assert answer.status == 201
            return web.Response(status=201)
        response = web.StreamResponse()
        response.content_length = self.length
        await response.prepare(request)
        await response.write(self.body)
        assert request.transport is not None
        request.transport.close()
        return response


@asynccontextmanager
async def front(behind: str) -> AsyncIterator[Front]:
    """One before the namenode at ``behind``; as a datanode it is at ``http://address/datanode``."""
    one = Front(behind)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/webhdfs/{path:.*}", one.namenode)
    app.router.add_route("*", "/datanode/{path:.*}", one.datanode)
    async with listening(web.AppRunner(app, shutdown_timeout=0.1)) as address:
        one.address = address
        yield one
