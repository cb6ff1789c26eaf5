"""An upstream registry in a bad mood: a front before a real one that demands, breaks and lies."""

import asyncio
import base64
import hashlib
import io
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web
from yarl import URL

from octopull.clients.tag_index import KEPT_HEADER, MOVED_AT_HEADER
from support.servers.front import listening

USER, PASSWORD = "robot", "hunter2-is-secret"
SIGNATURE = "signature-is-secret"
IDENTITY = "identity-is-secret"
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
    password: str = PASSWORD
    busy: int = 0
    """So many requests are answered 429 first."""
    retry_after: str = "0"
    down: bool = False
    """Reset every connection."""
    cut_bytes: int = 0
    """Break each body of a blob that is larger after so many bytes ..."""
    cuts: int = 0
    """... this often."""
    upload_cuts: list[int] = field(default_factory=list[int])
    """After how many bytes each upload of more is broken, one after the other."""
    forget_uploads: bool = False
    """Whether a broken upload is gone."""
    lose_commits: int = 0
    """So many uploads are committed without an answer."""
    refuse_mounts: int = 0
    """The status that mounts are answered with, if it is not 0."""
    refuse_uploads: int = 0
    """The status that uploads are answered with, if it is not 0."""
    refuse_deletes: tuple[int, str] | None = None
    """The status and code that deletions are answered with."""
    forbidden: str = ""
    """Nothing may be changed in repositories whose names begin so."""
    ranges: bool = True
    old: bool = False
    """Have nothing but a manifest of docker's schema 1."""
    lies: bool = False
    """Send other bytes of the same length."""
    redirect: str = ""
    """Send who asks for blobs there; ``{path}`` stands for the path."""
    hold: asyncio.Event | None = None
    """Until it is set, bodies of blobs stop after ``hold_bytes``."""
    hold_bytes: int = 1
    wrong_end: bool = False
    """Send other bytes behind those."""
    silence: asyncio.Event | None = None
    """Until it is set, manifests are not answered."""
    put: list[bytes] = field(default_factory=list[bytes])
    """The manifests that were put, in order."""
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
        if self.private and shown != _basic(self.password):
            return web.json_response({"details": "incorrect username or password"}, status=401)
        return self._give(request.query)

    async def oauth(self, request: web.Request) -> web.Response:
        """The realm for those who show an identity token (distribution, spec/auth/oauth.md)."""
        self._note(request)
        form = {name: str(value) for name, value in (await request.post()).items()}
        if (form["grant_type"], form["refresh_token"]) != ("refresh_token", IDENTITY):
            return web.json_response({"error": "invalid_grant"}, status=400)
        assert form["client_id"]
        return self._give(form)

    def _give(self, asked: Mapping[str, str]) -> web.Response:
        assert asked["service"] == "front"
        self.given += 1
        token = f"token-{self.given}-{asked['scope']}"
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
        if request.method not in {"GET", "HEAD"} or "/uploads/" in request.path:
            return await self._pass_change_on(request)
        return await self._pass_on(request)

    def _note(self, request: web.Request) -> None:
        self.asked.append(Asked(request.method, request.path, dict(request.headers)))
        self.came.set()

    def _refuse(self, request: web.Request) -> web.Response | None:
        shown = request.headers.get("Authorization", "")
        if self.basic and shown != _basic(self.password):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="front"'})
        match = _REPOSITORY.match(request.path)
        if not self.tokens or match is None:
            return None
        actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
        scope = f"repository:{match[1]}:{actions.get(request.method, 'pull,push')}"
        token = shown.removeprefix("Bearer ")
        if token in self.valid and token.endswith((scope, f"{scope},push")):
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

    async def _pass_change_on(self, request: web.Request) -> web.Response:
        if self.forbidden and request.path.startswith(f"/v2/{self.forbidden}"):
            return web.Response(status=403)
        if self.refuse_mounts and "mount" in request.query:
            return web.Response(status=self.refuse_mounts)
        if self.refuse_deletes is not None and request.method == "DELETE":
            status, code = self.refuse_deletes
            return web.json_response({"errors": [{"code": code}]}, status=status)
        if self.refuse_uploads and "/uploads/" in request.path:
            return web.Response(status=self.refuse_uploads)
        cut = self.upload_cuts[0] if self.upload_cuts else 0
        body = b"" if cut else await request.read()
        if request.method == "PUT" and "/manifests/" in request.path:
            self.put.append(body)
        if cut and request.method == "PATCH":
            body = await request.content.readexactly(cut)
        sent = {
            name: value for name, value in request.headers.items()
            if name in {"Content-Type", "Content-Range", "Accept", MOVED_AT_HEADER}
            and not (cut and name == "Content-Range")
        }  # fmt: skip
        url = URL(f"http://{self.behind}{request.raw_path}", encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, headers=sent, data=io.BytesIO(body)) as answer,
        ):
            broken = cut and request.method == "PATCH"
            lost = self.lose_commits and "digest" in request.query
            if broken or lost:
                self.upload_cuts = self.upload_cuts[1:]
                self.lose_commits = 0
                assert request.transport is not None
                request.transport.abort()
            if broken and self.forget_uploads:
                location = answer.headers["Location"]
                async with session.delete(url.join(URL(location, encoded=True))) as gone:
                    assert gone.status == 204
            headers = {
                name: value.replace(f"http://{self.behind}", self.url)
                for name, value in answer.headers.items()
                if name
                in {"Content-Type", "Location", "Range", "Docker-Content-Digest", KEPT_HEADER}
            }
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    async def _send(
        self, request: web.Request, response: web.StreamResponse, body: bytes, *, troubled: bool
    ) -> web.StreamResponse:
        if self.lies:
            body = bytes(255 - one for one in body)
        await response.prepare(request)
        if troubled and self.hold is not None:
            await response.write(body[: self.hold_bytes])
            await self.hold.wait()
            body = body[self.hold_bytes :]
            if self.wrong_end:
                body = bytes(255 - one for one in body)
        if troubled and self.cuts and len(body) > self.cut_bytes:
            self.cuts -= 1
            await response.write(body[: self.cut_bytes])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body)
        await response.write_eof()
        return response


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()


@asynccontextmanager
async def front(behind: str) -> AsyncIterator[Front]:
    """A front before the registry at ``behind``, on a free port of the loopback."""
    one = Front(behind)
    app = web.Application(client_max_size=1 << 30)
    app.add_routes([web.get("/token", one.token), web.post("/token", one.oauth)])
    app.add_routes([web.route("*", "/v2/{rest:.*}", one.answer)])
    async with listening(web.AppRunner(app, shutdown_timeout=1.0)) as address:
        one.url = f"http://{address}"
        yield one
