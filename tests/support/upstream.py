"""An upstream registry in a bad mood: a front before a real one that demands, breaks and lies."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web

USER, PASSWORD = "robot", "hunter2-is-secret"
SIGNATURE = "signature-is-secret"
_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|blobs)/")


class Asked(NamedTuple):
    """One request that came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Front:
    """What the front does; every field may be changed while it runs."""

    behind: str
    tokens: bool = False
    """Demand a bearer token for each repository."""
    basic: bool = False
    """Demand user and password."""
    private: bool = False
    """Give tokens only to those who show user and password."""
    busy: int = 0
    """So many requests are answered 429 first."""
    retry_after: str = "0"
    down: bool = False
    """Reset every connection."""
    cut_bytes: int = 0
    """Break each body of a blob that is larger after so many bytes ..."""
    cuts: int = 0
    """... this often."""
    ranges: bool = True
    old: bool = False
    """Have nothing but a manifest of docker's schema 1."""
    lies: bool = False
    """Send other bytes of the same length."""
    redirect: str = ""
    """Send who asks for blobs there; ``{path}`` stands for the path."""
    hold: asyncio.Event | None = None
    """Until it is set, bodies of blobs stop after their first byte."""
    silence: asyncio.Event | None = None
    """Until it is set, manifests are not answered."""
    asked: list[Asked] = field(default_factory=list[Asked])
    came: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    valid: set[str] = field(default_factory=set[str])
    given: int = 0

    def count(self, method: str, part: str) -> int:
        """How many requests with ``part`` in their path came."""
        return sum(one.method == method and part in one.path for one in self.asked)

    async def seen(self, method: str, part: str, count: int) -> None:
        """Wait until ``count`` such requests came."""
        while self.count(method, part) < count:
            self.came.clear()
            await self.came.wait()

    def revoke(self) -> None:
        """No token given so far counts any longer."""
        self.valid.clear()

    async def token(self, request: web.Request) -> web.Response:
        """The realm."""
        self._note(request)
        shown = request.headers.get("Authorization")
        if self.private and shown != _basic():
            return web.json_response({"details": "incorrect username or password"}, status=401)
        assert request.query["service"] == "front"
        self.given += 1
        token = f"token-{self.given}-{request.query['scope']}"
        self.valid.add(token)
        return web.json_response({"access_token": token, "expires_in": 300})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The registry's API."""
        self._note(request)
        if self.down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        if self.silence is not None and "/manifests/" in request.path:
            await self.silence.wait()
        refused = self._refuse(request)
        if refused is not None:
            return refused
        if self.busy:
            self.busy -= 1
            return web.Response(status=429, headers={"Retry-After": self.retry_after})
        if self.redirect and "/blobs/" in request.path:
            target = self.redirect.format(path=request.path)
            return web.Response(status=307, headers={"Location": target})
        if self.old:
            content = b'{"schemaVersion": 1}'
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            return web.Response(body=content, headers={"Docker-Content-Digest": digest})
        return await self._pass_on(request)

    def _note(self, request: web.Request) -> None:
        self.asked.append(Asked(request.method, request.path, dict(request.headers)))
        self.came.set()

    def _refuse(self, request: web.Request) -> web.Response | None:
        shown = request.headers.get("Authorization", "")
        if self.basic and shown != _basic():
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="front"'})
        match = _REPOSITORY.match(request.path)
        if not self.tokens or match is None:
            return None
        scope = f"repository:{match[1]}:pull"
        token = shown.removeprefix("Bearer ")
        if token in self.valid and token.endswith(scope):
            return None
        challenge = f'Bearer realm="{self.url}/token",service="front",scope="{scope}"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        named = {"Range", "Accept"} if self.ranges else {"Accept"}
        sent = {name: value for name, value in request.headers.items() if name in named}
        url = f"http://{self.behind}{request.path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, headers=sent) as answer,
        ):
            body = await answer.read()
            headers = {
                name: value for name, value in answer.headers.items()
                if name in {"Content-Type", "Docker-Content-Digest", "Content-Range"}
            }  # fmt: skip
            length = int(answer.headers.get("Content-Length", "0"))
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = length
        blob = "/blobs/" in request.path and request.method == "GET" and answer.status < 300
        return await self._send(request, response, body, troubled=blob)

    async def _send(
        self, request: web.Request, response: web.StreamResponse, body: bytes, *, troubled: bool
    ) -> web.StreamResponse:
        if self.lies:
            body = bytes(255 - one for one in body)
        await response.prepare(request)
        if troubled and self.hold is not None:
            await response.write(body[:1])
            await self.hold.wait()
            body = body[1:]
        if troubled and self.cuts and len(body) > self.cut_bytes:
            self.cuts -= 1
            await response.write(body[: self.cut_bytes])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body)
        await response.write_eof()
        return response


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@asynccontextmanager
async def front(behind: str) -> AsyncIterator[Front]:
    """A front before the registry at ``behind``, on a free port of the loopback."""
    one = Front(behind)
    app = web.Application()
    app.add_routes([web.get("/token", one.token), web.route("*", "/v2/{rest:.*}", one.answer)])
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        one.url = f"http://{host}:{port}"
        yield one
    finally:
        await runner.cleanup()
