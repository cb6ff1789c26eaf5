"""How we prove to a registry that we may: basic, or a token for each repository and purpose.

Distribution, docs/spec/auth/token.md: a 401 names the realm that gives tokens; who has
credentials shows them there (RFC 6750, RFC 7617). An identity token is shown by POST instead
(docs/spec/auth/oauth.md).
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from urllib.parse import urlencode

import msgspec
from yarl import URL

from octopull.backends.credential_helpers import Identity
from octopull.backends.credentials import Credentials, IdentityToken
from octopull.backends.guard import Guard
from octopull.backends.registry_place import Place
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

CLIENT_ID = "octopull"
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


class Purpose(StrEnum):
    """What a request is for, as the actions of a token's scope."""

    PULL = "pull"
    PUSH = "pull,push"
    DELETE = "delete"


class _Answer(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float = LIFE_S_DEFAULT


class Authorization:
    """Values of ``Authorization`` for one registry, by repository and purpose."""

    def __init__(self, http: Http, place: Place, guard: Guard) -> None:
        self._http = http
        self._place = place
        self._guard = guard
        self._identity = Identity(place)
        self._lock = asyncio.Lock()
        self._kept: dict[tuple[str, Purpose], tuple[str, float]] = {}

    def value(self, repository: str, purpose: Purpose) -> str | None:
        """What to send, if anything is known to help and has not run out."""
        value, until_s = self._kept.get((repository, purpose), (None, 0.0))
        return value if time.monotonic() < until_s else None

    async def obtain(
        self, challenges: Sequence[Challenge], repository: str, purpose: Purpose,
        refused: str | None,
    ) -> bool:  # fmt: skip
        """Get another value than ``refused``, which was answered with ``challenges``.

        False if there is nothing that could help.

        Raises:
            Unavailable: our credentials are wrong, or who gives tokens does not answer.

        """
        async with self._lock:
            if self.value(repository, purpose) not in {None, refused}:
                return True  # Somebody else has got it meanwhile.
            self._kept.pop((repository, purpose), None)
            known = {one.scheme: one.parameters for one in reversed(challenges)}
            if "bearer" in known:
                scope = scope_of(known["bearer"].get("scope", ""), repository, purpose)
                found = await self._token(known["bearer"], scope)
            elif "basic" in known:
                found = await self._basic(refused)
            else:
                found = None
            if found is None:
                return False
            if len(self._kept) >= TOKENS_MAX:
                self._kept.clear()
            value, life_s = found
            self._kept[repository, purpose] = (value, time.monotonic() + life_s)
            return True

    def refused(self, value: str | None) -> None:
        """A fresh value did not help.

        Raises:
            Unavailable: since our credentials are wrong.

        """
        if value is not None and value.startswith("Basic "):
            raise self._wrong()

    async def _basic(self, refused: str | None) -> tuple[str, float] | None:
        own = await self._identity.read()
        if isinstance(own, Credentials) and own.basic == refused:
            self._identity.forget()
            own = await self._identity.read()
        if own is None:
            return None
        if isinstance(own, IdentityToken) or own.basic == refused:
            raise self._wrong()
        return own.basic, BASIC_S

    async def _token(self, parameters: Mapping[str, str], scope: str) -> tuple[str, float] | None:
        realm = self._realm(parameters.get("realm", ""))
        query = {"scope": scope}
        if "service" in parameters:
            query["service"] = parameters["service"]
        own = await self._identity.read()
        status, body = await self._ask(realm, query, own)
        if status in {401, 403} and own is not None:
            # A helper program may have newer ones.
            self._identity.forget()
            newer = await self._identity.read()
            if newer not in {None, own}:
                status, body = await self._ask(realm, query, newer)
        # An identity token that has run out is a 400 (RFC 6749 section 5.2).
        if status in {401, 403} or (status == 400 and isinstance(own, IdentityToken)):
            if own is None:
                return None
            self._identity.forget()
            raise self._wrong()
        return self._read(status, body)

    def _realm(self, text: str) -> URL:
        try:
            realm = URL(text)
        except ValueError:
            realm = URL()
        if not self._guard.admits_secrets(realm):
            raise Unavailable(f"{self._place.name} names no https realm for tokens")
        return realm

    async def _ask(
        self, realm: URL, query: Mapping[str, str], own: Credentials | IdentityToken | None
    ) -> tuple[int, bytes]:
        """Status and body of the realm's answer."""
        headers = {"Accept-Encoding": "identity"}
        if not isinstance(own, IdentityToken):
            if own is not None:
                headers["Authorization"] = own.basic
            return await self._exchange("GET", realm.update_query(query), headers, None)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": own.token}
        body = urlencode({**query, **form}).encode()
        return await self._exchange("POST", realm, headers, body)

    async def _exchange(
        self, method: str, url: URL, headers: Mapping[str, str], sent: bytes | None
    ) -> tuple[int, bytes]:
        timeout_s, body = self._place.timeout_s, bytearray()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._http.exchange(
                    method, url, headers=headers, data=sent, idle_s=timeout_s
                ) as answer,
            ):
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise Unavailable(f"the token for {self._place.name} has no end")
                return answer.status, bytes(body)
        except TimeoutError as error:
            raise Unavailable(f"no token for {self._place.name} in {timeout_s} s") from error

    def _read(self, status: int, body: bytes) -> tuple[str, float]:
        try:
            answer = msgspec.json.decode(body, type=_Answer) if status == 200 else _Answer()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _Answer()
        token = answer.token or answer.access_token
        if len(token) > TOKEN_CHARS_MAX or _TOKEN.fullmatch(token) is None:
            raise Unavailable(f"no token for {self._place.name} to be had", status=status)
        return f"Bearer {token}", min(max(answer.expires_in, 0.0), LIFE_S_MAX)

    def _wrong(self) -> Unavailable:
        return Unavailable(f"{self._place.name} refuses this cluster's credentials", wrong=True)


def scope_of(told: str, repository: str, purpose: Purpose) -> str:
    """What the registry told, unless that is less than is needed."""
    actions = {action for one in told.split() for action in one.rpartition(":")[2].split(",")}
    enough = "*" in actions or actions >= set(purpose.split(","))
    return told if enough else f"repository:{repository}:{purpose}"
