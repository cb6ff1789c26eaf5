"""Answers that come line by line while a service works, a JSON document each."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec

from octopull.http.client import Http
from octopull.kernel.errors import Corrupt, Unavailable

T = TypeVar("T")
LINE_IDLE_S = 300.0
LINE_BYTES_MAX = 64 << 20
"""Far more than a page of digests takes, or the tags of one repository."""


async def lines(
    http: Http, url: str, parse: Callable[[bytes], T], ended: type[object]
) -> AsyncIterator[T]:
    """What the service answers to a POST to ``url``, up to the line that is an ``ended``.

    Raises:
        Unavailable: it does not answer, or breaks off. Corrupt: it answers something else.
        Misuse, NotFound: it refuses.

    """
    async with http.stream("POST", url, idle_s=LINE_IDLE_S) as response:
        rest = b""
        async for chunk in response.content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise Corrupt(f"{url} answers a line without an end")
            for text in whole:
                line = _parsed(url, text, parse)
                yield line
                if isinstance(line, ended):
                    return
    raise Unavailable("the answer broke off", url=url)


def _parsed(url: str, text: bytes, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"{url} answered something else: {error}") from error
