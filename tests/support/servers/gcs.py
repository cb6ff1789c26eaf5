"""Google Cloud Storage's XML API: moto's S3, which is the same API, and before it what differs.

That is bearer tokens, generations, and conditions on them. No emulator that can be installed
speaks that API well enough for obstore, which uses no other: gcp-storage-emulator knows neither
HEAD nor uploads in parts nor ETags, fake-gcs-server takes no plain PUT.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote

from aiohttp import web

from support.servers.front import Behind, behind, front
from support.servers.moto import moto
from support.servers.programs import Bucket

TOKEN = "gcs-token-secret"
SECRETS = {"GOOGLE_BEARER_TOKEN": TOKEN}
_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=tester/20200101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
)


class Generations:
    """Answers as GCS does for the objects of one bucket."""

    def __init__(self, real: Behind) -> None:
        self._real = real
        self._lock = asyncio.Lock()
        self._numbers = itertools.count(1700000000000000)
        self._generations: dict[str, int] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _refused(401, "AuthenticationRequired")
        key = unquote(request.raw_path.partition("?")[0])
        if request.method in {"GET", "HEAD"}:
            return await self._pass_on(request, key)
        if request.method == "DELETE" and "uploadId" not in request.query:
            async with self._lock:
                if self._generations.pop(key, None) is None:
                    return _refused(404, "NoSuchKey")
                return await self._pass_on(request, key)
        if {"uploads", "partNumber"} & request.query.keys() or request.method == "DELETE":
            return await self._pass_on(request, key)
        async with self._lock:
            expected = request.headers.get("x-goog-if-generation-match")
            if expected is not None and int(expected) != self._generations.get(key, 0):
                return _refused(412, "PreconditionFailed")
            generation = next(self._numbers)
            answer = await self._pass_on(request, key, generation)
            if answer.status == 200:
                self._generations[key] = generation
            return answer

    async def _pass_on(
        self, request: web.BaseRequest, key: str, generation: int | None = None
    ) -> web.StreamResponse:
        def edit(answer: web.StreamResponse) -> None:
            told = generation or self._generations.get(key)
            if told is not None:
                answer.headers["x-goog-generation"] = str(told)

        headers = {"authorization": _ANYBODY, "host": self._real.host}
        _, mark, query = request.raw_path.partition("?")
        path = quote(key) + mark + query  # GCS's clients quote more than moto takes back.
        return await self._real.pass_on(request, edit, headers, path)


def _refused(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")


@asynccontextmanager
async def gcs() -> AsyncIterator[Bucket]:
    """A bucket."""
    async with (
        moto() as bucket,
        behind(bucket.options["endpoint"]) as real,
        front(Generations(real).handle) as url,
    ):
        yield Bucket("gs", bucket.name, {"endpoint": url}, SECRETS, bucket.folder)
