"""A web server whose files are read: RFC 9110's HEAD, ranges and conditions.

The url of the settings is what comes before a key, or has ``{key}`` where the key goes. With
``{namespace}``, ``{hex}`` or ``{digest}`` in it, keys are those that ``web_key`` makes.
"""

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from octopull.backends import answers
from octopull.backends.contract import READ_ONLY, Content, Feature, Span, Stat, check_key
from octopull.backends.credentials import Credentials
from octopull.backends.guard import Guard
from octopull.backends.named_secrets import Secrets
from octopull.backends.requests import retry_after_s
from octopull.config.backends import BackendSettings
from octopull.http.client import Http
from octopull.kernel.digest import Digest
from octopull.kernel.errors import (
    Corrupt,
    Fault,
    InvalidDigest,
    InvalidName,
    Misuse,
    NotFound,
    Unavailable,
    Unsupported,
)  # fmt: skip

VALIDATORS_MAX = 4096
"""Objects whose ETag is remembered between the reads of their parts."""

USERNAME, PASSWORD, TOKEN = "USERNAME", "PASSWORD", "TOKEN"
OPTIONS = {"username_variable": USERNAME, "password_variable": PASSWORD, "token_variable": TOKEN}
"""Environment variables are named by the settings: one server's secrets are not for another."""

_FIELDS = frozenset({"namespace", "hex", "digest"})
_FIELD = re.compile(r"\{([^{}]*)\}")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)
_NO_HEAD = frozenset({405, 501})


class Web:
    """Files of a web server as ``Objects``. ``http`` must resolve by ``guard``.

    A server that knows no ranges is read from the start for each; ``ranged`` tells.

    Raises:
        Misuse: there are other options than ``OPTIONS``, or the url is no ``template``.

    """

    def __init__(self, http: Http, settings: BackendSettings, guard: Guard) -> None:
        if unknown := settings.options.keys() - OPTIONS:
            raise Misuse(f"a web server has the options {', '.join(OPTIONS)}",
                         unknown=sorted(unknown))  # fmt: skip
        self.settings = settings
        self._http = http
        self._guard = guard
        self._template = template(settings.url)
        variables = {name: settings.options.get(option, "") for option, name in OPTIONS.items()}
        self._secrets = Secrets(settings.label, settings.credentials, variables)
        self._validators: OrderedDict[str, str] = OrderedDict()

    @property
    def features(self) -> frozenset[Feature]:
        """It is only read."""
        return READ_ONLY

    async def stat(self, key: str) -> Stat:
        """Size and ETag, or what else tells versions apart.

        Raises:
            NotFound: 404 or 410. Unavailable: the server can't tell.
            Unsupported: it has the file, and does not say how large it is.

        """
        async with self._answer("HEAD", key, {}) as response:
            size = response.content_length if response.status == 200 else None
            found = _validator(response)
        if size is None:
            size, found = await self._probed(key)
        self._remember(key, found)
        return Stat(size, found)

    async def ranged(self, key: str) -> bool:
        """Whether the server sends parts of this object, rather than all of it each time."""
        async with self._answer("GET", key, {"Range": "bytes=0-0"}) as response:
            return response.status == 206

    async def _probed(self, key: str) -> tuple[int, str]:
        """Size and version by a read of one byte, where HEAD does not tell."""
        async with self._answer("GET", key, {"Range": "bytes=0-0"}) as response:
            size = response.content_length
            if response.status != 200:
                size = _range(response)[2]
            if size is None:
                raise Unsupported(f"{self.settings.label} does not say how large a file is")
            return size, _validator(response)

    async def get(self, key: str, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes; see ``Objects``.

        Raises:
            Corrupt: the file is another one than at the last ``stat`` (once, then that counts),
                or the server sends other bytes than were asked for.

        """
        if span is not None and span.length == 0:
            await self.stat(key)
            return
        headers = {} if span is None else {"Range": _asked(span)}
        async with self._answer("GET", key, headers) as response:
            if span is None:
                length, skip = response.content_length, 0
                self._check_end(response)
            else:
                self._check_same(key, _validator(response))
                length, skip = span.length, self._skipped(response, span)
            async with aclosing(answers.exactly(response, length, skip)) as chunks:
                async for chunk in chunks:
                    yield chunk

    def _skipped(self, response: aiohttp.ClientResponse, span: Span) -> int:
        """How many bytes of the body come before ``span``."""
        end = span.start + span.length
        if response.status == 206:
            first, last, _ = _range(response)
            if (first, last) != (span.start, end - 1):
                raise Corrupt(f"{self.settings.label} sends another range than was asked for")
            if response.content_length not in {None, span.length}:
                raise Corrupt(f"{self.settings.label} sends another length than it says")
            return 0
        size = response.content_length
        if response.status == 416 or (size is not None and size < end):
            raise Corrupt(f"{self.settings.label} has fewer bytes than it said", size=size)
        return span.start

    def _check_end(self, response: aiohttp.ClientResponse) -> None:
        if not answers.told_end(response):
            raise Unavailable(f"{self.settings.label} does not tell where a file ends")

    # Versions.

    def _remember(self, key: str, validator: str) -> None:
        self._validators.pop(key, None)
        self._validators[key] = validator
        if len(self._validators) > VALIDATORS_MAX:
            self._validators.popitem(last=False)

    def _check_same(self, key: str, validator: str) -> None:
        known = self._validators.get(key, validator)
        if known != validator:
            del self._validators[key]
            raise Corrupt(f"{self.settings.label} has changed a file while it was read")

    # Requests.

    @asynccontextmanager
    async def _answer(
        self, method: str, key: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, if it has to do with the file: 206 and 416 are answers to a ``Range``."""
        url = URL(filled(self._template, check_key(key)), encoded=True)
        # What was compressed on the way would have another digest.
        sent = {"Accept-Encoding": "identity", **headers}
        proof = await self._proof()
        async with AsyncExitStack() as stack:
            response = await answers.followed(
                stack, self._http, self._guard, method, url, sent, proof, self.settings.timeout_s
            )
            if response.url.raw_path == url.raw_path + "/":
                raise NotFound(f"{self.settings.label} has a folder there", key=key)
            if response.status not in (_NO_HEAD if method == "HEAD" else ()):
                self._check(response, ranged="Range" in headers)
            yield response

    def _check(self, response: aiohttp.ClientResponse, *, ranged: bool) -> None:
        if response.status not in ({200, 206, 416} if ranged else {200}):
            raise self._refused(response)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Corrupt(f"{self.settings.label} sends files compressed, which was not asked for")

    def _refused(self, response: aiohttp.ClientResponse) -> Fault:
        status, label = response.status, self.settings.label
        if status in {404, 410}:
            return NotFound(f"{label} has no such file", status=status)
        if status in {401, 403, 407}:
            return Unavailable(f"{label} refuses this cluster's credentials, or has none of it",
                               status=status)  # fmt: skip
        rests_s = retry_after_s(response.headers.get("Retry-After", ""))
        rest = {} if rests_s is None else {"rests_s": rests_s}
        return Unavailable(f"{label} answers with status {status}", status=status, **rest)

    async def _proof(self) -> Mapping[str, str]:
        found = await self._secrets.read()
        if TOKEN in found:
            return {"Authorization": f"Bearer {_sendable(found[TOKEN], self.settings.label)}"}
        if USERNAME in found:
            pair = Credentials(found[USERNAME], found.get(PASSWORD, ""))
            return {"Authorization": pair.basic}
        return {}

    # What a web server does not offer.

    async def put(self, key: str, content: Content) -> None:
        """Raises Unsupported."""
        del content
        raise self._unsupported(key)

    async def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        """Raises Unsupported."""
        del content, expected
        raise self._unsupported(key)

    async def delete(self, key: str) -> None:
        """Raises Unsupported."""
        raise self._unsupported(key)

    async def list(self, prefix: str, after: str, count: int) -> list[str]:
        """Raises Unsupported."""
        del after, count
        raise self._unsupported(prefix)

    def _unsupported(self, key: str) -> Unsupported:
        return Unsupported(f"{self.settings.label} is only read", key=key[:80])


@asynccontextmanager
async def connected(settings: BackendSettings) -> AsyncIterator[Web]:
    """The store of ``settings``, with connections of its own; nothing is asked of it yet.

    Raises:
        Misuse: the url or the options are wrong.

    """
    guard = Guard(urlsplit(settings.url).hostname or "")
    async with Http(guard) as http:
        yield Web(http, settings, guard)


def template(url: str) -> str:
    """``url`` with a place for keys.

    Raises:
        Misuse: it has other fields than those above, or ``{key}`` beside others.

    """
    fields = set(_FIELD.findall(url))
    if not fields:
        return url.rstrip("/") + "/{key}"
    if fields != {"key"} and not fields <= _FIELDS:
        known = ", ".join(sorted(_FIELDS))
        raise Misuse(f"a web server's url has {{key}} in it, or some of {known}", url=url)
    if _FIELDS & fields and not {"hex", "digest"} & fields:
        raise Misuse("a web server's url without {hex} or {digest} names no blob", url=url)
    return url


def by_digest(url: str) -> bool:
    """Whether ``url`` has fields that a key alone does not tell; see ``web_key``."""
    return bool(_FIELDS & set(_FIELD.findall(url)))


def web_key(namespace: str, digest: Digest) -> str:
    """The key that stands for a blob where ``by_digest``."""
    return f"{namespace}@{digest}"


def filled(pattern: str, key: str) -> str:
    """``pattern``, a ``template``, with its fields filled in by what ``key`` stands for.

    Raises:
        InvalidName: ``key`` is none that ``web_key`` makes, where one is needed.

    """
    values = {"key": key}
    if by_digest(pattern):
        namespace, _, told = key.rpartition("@")
        try:
            digest = Digest.parse(told)
        except InvalidDigest as fault:
            raise InvalidName("not a key of a store by digest", key=key[:80]) from fault
        values = {"namespace": namespace, "hex": digest.hex, "digest": str(digest)}
    path, mark, query = pattern.partition("?")
    # Slashes and colons are themselves in a path, and nothing is but letters in a query.
    path = _FIELD.sub(lambda field: quote(values[field[1]], safe="/:@+=~"), path)
    return path + mark + _FIELD.sub(lambda field: quote(values[field[1]], safe=""), query)


def _asked(span: Span) -> str:
    return f"bytes={span.start}-{span.start + span.length - 1}"


def _range(response: aiohttp.ClientResponse) -> tuple[int, int, int | None]:
    """First byte, last byte and size of a 206, if it is known; size alone is told by a 416.

    Raises:
        Corrupt: it does not say.

    """
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or (match[1] is None and response.status == 206):
        raise Corrupt("a range that does not say which", status=response.status)
    return int(match[1] or 0), int(match[2] or 0), None if match[3] == "*" else int(match[3])


def _validator(response: aiohttp.ClientResponse) -> str:
    """What tells this version of a file from others: ETag, else the time it was changed."""
    headers = response.headers
    return headers.get("ETag", "").removeprefix("W/") or headers.get("Last-Modified", "")


def _sendable(token: str, label: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise Unavailable(f"the token for {label} has characters that can't be sent")
    return token
