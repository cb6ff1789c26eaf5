"""What stores that speak HTTP have in common: redirects, whole answers, bodies of a known length."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack

import aiohttp
from yarl import URL

from octopull.backends.contract import CHUNK_BYTES_MAX
from octopull.backends.guard import Guard
from octopull.http.client import Http
from octopull.kernel.errors import Corrupt, Unavailable

REDIRECTS_MAX = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


async def followed(
    stack: AsyncExitStack, http: Http, guard: Guard, method: str, url: URL,
    headers: Mapping[str, str], proof: Mapping[str, str], idle_s: float,
) -> aiohttp.ClientResponse:  # fmt: skip
    """The answer behind all redirects, open as long as ``stack`` is.

    ``proof``, headers that tell who we are, goes to the origin of ``url`` alone.

    Raises:
        Unavailable: as ``Http.exchange``; redirects without end, or to where ``guard`` says no.

    """
    home = url.origin()
    for _ in range(REDIRECTS_MAX + 1):
        sent = {**headers, **proof} if url.origin() == home else headers
        response = await stack.enter_async_context(
            http.exchange(method, url, headers=sent, idle_s=idle_s)
        )
        if response.status not in REDIRECTS:
            return response
        url = guard.redirected(url, response.headers.get("Location"))
        await stack.aclose()
    raise Unavailable("redirected without end", most=REDIRECTS_MAX)


async def whole(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """All of the body.

    Raises:
        Corrupt: it is longer than ``bytes_max``.

    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise Corrupt("the answer is longer than it may be", bytes_max=bytes_max)
    return bytes(body)


async def exactly(
    response: aiohttp.ClientResponse, length: int | None, skip: int = 0
) -> AsyncGenerator[bytes, None]:
    """``length`` bytes of the body behind the first ``skip``; None: all there are.

    Whoever asks for all of a body must know that its end can be told from a broken connection
    (``told_end``).

    Raises:
        Unavailable: the body ends early.

    """
    missing = length
    async for piece in response.content.iter_chunked(CHUNK_BYTES_MAX):
        if skip >= len(piece):
            skip -= len(piece)
            continue
        chunk, skip = piece[skip:] if skip else piece, 0
        if missing is not None:
            chunk = chunk[:missing]
            missing -= len(chunk)
        if chunk:
            yield chunk
        if missing == 0:
            return
    if missing:
        raise Unavailable("the body ends early", missing_bytes=missing)


def told_end(response: aiohttp.ClientResponse) -> bool:
    """Whether a body that ends has told so, rather than that the connection is closed."""
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return chunked or response.content_length is not None
