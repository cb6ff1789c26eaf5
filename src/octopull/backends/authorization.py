"""How we prove to an upstream that we may read: basic, or a token for each repository.

Distribution, docs/spec/auth/token.md: a 401 names the realm that gives tokens; who has
credentials shows them there (RFC 6750, RFC 7617).
"""

import asyncio
import re
import time
from collections.abc import Sequence

import msgspec
from yarl import URL

from octopull.backends import credentials
from octopull.backends.guard import Guard
from octopull.config.upstreams import UpstreamSettings
from octopull.http.client import Http
from octopull.kernel.errors import Unavailable
from octopull.oci.challenges import Challenge

TOKENS_MAX = 10_000
TOKEN_CHARS_MAX = 16 * 1024
ANSWER_BYTES_MAX = 64 * 1024
LIFE_S_DEFAULT = 60
"""What the specification says of a token without ``expires_in``."""

LIFE_S_MAX = 3600
BASIC_S = 300.0
"""How long credentials that were read stay in memory."""

_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


class _Answer(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float = LIFE_S_DEFAULT


class Authorization:
    """Values of ``Authorization`` for one upstream, by repository."""

    def __init__(self, http: Http, settings: UpstreamSettings, guard: Guard) -> None:
        self._http = http
        self._settings = settings
        self._guard = guard
        self._lock = asyncio.Lock()
        self._kept: dict[str, tuple[str, float]] = {}

    def value(self, repository: str) -> str | None:
        """What to send, if anything is known to help and has not run out."""
        value, until_s = self._kept.get(repository, (None, 0.0))
        return value if time.monotonic() < until_s else None

    async def obtain(
        self, challenges: Sequence[Challenge], repository: str, refused: str | None
    ) -> bool:
        """Get another value than ``refused``, which was answered with ``challenges``.

        False if there is nothing that could help.

        Raises:
            Unavailable: our credentials are wrong, or who gives tokens does not answer.

        """
        async with self._lock:
            if self.value(repository) not in {None, refused}:
                return True  # Somebody else has got it meanwhile.
            self._kept.pop(repository, None)
            known = {one.scheme: one.parameters for one in reversed(challenges)}
            if "bearer" in known:
                found = await self._token(known["bearer"], repository)
            elif "basic" in known:
                found = await self._basic(refused)
            else:
                found = None
            if found is None:
                return False
            if len(self._kept) >= TOKENS_MAX:
                self._kept.clear()
            value, life_s = found
            self._kept[repository] = (value, time.monotonic() + life_s)
            return True

    def refused(self, value: str | None) -> None:
        """A fresh value did not help.

        Raises:
            Unavailable: since our credentials are wrong.

        """
        if value is not None and value.startswith("Basic "):
            raise self._wrong()

    async def _basic(self, refused: str | None) -> tuple[str, float] | None:
        own = await asyncio.to_thread(credentials.read, self._settings)
        if own is None:
            return None
        if own.basic == refused:
            raise self._wrong()
        return own.basic, BASIC_S

    async def _token(self, parameters: dict[str, str], repository: str) -> tuple[str, float] | None:
        realm = self._realm(parameters.get("realm", ""))
        query = {"scope": parameters.get("scope") or f"repository:{repository}:pull"}
        if "service" in parameters:
            query["service"] = parameters["service"]
        own = await asyncio.to_thread(credentials.read, self._settings)
        headers = {"Accept-Encoding": "identity"}
        if own is not None:
            headers["Authorization"] = own.basic
        status, body = await self._ask(realm.update_query(query), headers)
        if status in {401, 403}:
            if own is None:
                return None
            raise self._wrong()
        return self._read(status, body)

    def _realm(self, text: str) -> URL:
        try:
            realm = URL(text)
        except ValueError:
            realm = URL()
        if not self._guard.admits_secrets(realm):
            raise Unavailable(f"{self._settings.name} names no https realm for tokens")
        return realm

    async def _ask(self, url: URL, headers: dict[str, str]) -> tuple[int, bytes]:
        timeout_s, body = self._settings.timeout_s, bytearray()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._http.exchange("GET", url, headers=headers, idle_s=timeout_s) as answer,
            ):
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise Unavailable(f"the token for {self._settings.name} has no end")
                return answer.status, bytes(body)
        except TimeoutError as error:
            raise Unavailable(f"no token for {self._settings.name} in {timeout_s} s") from error

    def _read(self, status: int, body: bytes) -> tuple[str, float]:
        try:
            answer = msgspec.json.decode(body, type=_Answer) if status == 200 else _Answer()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _Answer()
        token = answer.token or answer.access_token
        if len(token) > TOKEN_CHARS_MAX or _TOKEN.fullmatch(token) is None:
            raise Unavailable(f"no token for {self._settings.name} to be had", status=status)
        return f"Bearer {token}", min(max(answer.expires_in, 0.0), LIFE_S_MAX)

    def _wrong(self) -> Unavailable:
        return Unavailable(f"{self._settings.name} refuses this cluster's credentials")
