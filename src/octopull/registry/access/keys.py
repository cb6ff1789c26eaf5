"""Where the keys are that prove tokens: in files, or at an address, fetched and kept for a while."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from octopull.http.client import Http
from octopull.kernel.errors import Fault, Misuse, Unavailable
from octopull.observability import logs
from octopull.runtime.tasks import Tasks
from octopull.security import key_sets
from octopull.security.key_sets import SET_BYTES_MAX, Key, KeySet
from octopull.security.tls import caller_context

log = logs.get("access")
FETCH_S = 5.0
FRESH_S = 3600.0
"""How long fetched keys count before they are looked at again."""

STALE_S = 86400.0
"""How long they count at most, while who has them does not answer."""

PAUSE_S = 15.0
"""Between two fetches: a token that names an unknown key is no reason to fetch at its pace."""

UNKNOWN = "the keys of the token's issuer can't be had now"


class Keys(Protocol):
    """The keys of one signer."""

    async def named(self, key_id: str) -> Sequence[Key]:
        """Those that may have signed what names ``key_id``.

        Raises:
            Unavailable: nobody knows them now.

        """
        ...


class KeptKeys:
    """Keys that are at hand."""

    def __init__(self, sets: Callable[[], Sequence[KeySet]]) -> None:
        self._sets = sets

    async def named(self, key_id: str) -> Sequence[Key]:
        return [key for one in self._sets() for key in one.named(key_id)]


class _Discovered(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class FetchedKeys:
    """Keys at ``jwks``; or, if that is empty, where the document below ``issuer`` says.

    ``tasks`` owns what fetches them anew while those that are at hand still count. The file
    ``authority``, if one is named, says who vouches for where they are, and may change.
    """

    def __init__(
        self, http: Http, issuer: str, jwks: str, tasks: Tasks, authority: str = ""
    ) -> None:
        self._http = http
        self._authority = authority
        if authority:
            # A mistake is told at the start.
            caller_context(authority)
        self._tasks = tasks
        self._issuer = issuer
        self._jwks = jwks
        self._kept = KeySet(())
        self._fetched_s = self._tried_s = -STALE_S
        self._fetching: asyncio.Lock = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    async def named(self, key_id: str) -> Sequence[Key]:
        if self._lacks(key_id):
            if self._at_hand(key_id):
                # An issuer that hangs would have all wait for what they need not.
                if self._renewing is None or self._renewing.done():
                    self._renewing = self._tasks.start(self._renew(key_id), "renew keys")
            else:
                await self._renew(key_id)
        if time.monotonic() - self._fetched_s >= STALE_S:
            raise Unavailable(UNKNOWN, issuer=self._issuer)
        return self._kept.named(key_id)

    def _lacks(self, key_id: str) -> bool:
        now_s = time.monotonic()
        if now_s - self._tried_s < PAUSE_S:
            return False
        return now_s - self._fetched_s >= FRESH_S or not self._kept.named(key_id)

    def _at_hand(self, key_id: str) -> bool:
        fresh = time.monotonic() - self._fetched_s < STALE_S
        return fresh and bool(self._kept.named(key_id))

    async def _renew(self, key_id: str) -> None:
        async with self._fetching:
            # Whoever waited may find what another one fetched.
            if self._lacks(key_id):
                await self._fetch()

    async def _fetch(self) -> None:
        try:
            http = await self._vouched()
            url = self._jwks or await self._discover(http)
            body = await http.bytes("GET", url, bytes_max=SET_BYTES_MAX, timeout_s=FETCH_S)
            self._kept = await asyncio.to_thread(key_sets.parse, body)
        except Fault as fault:
            log.warning("keys.failed", issuer=self._issuer, reason=str(fault))
        else:
            self._fetched_s = time.monotonic()
            log.info("keys.fetched", issuer=self._issuer, keys=len(self._kept.keys))
        finally:
            # Not before: who comes meanwhile waits for what is fetched.
            self._tried_s = time.monotonic()

    async def _vouched(self) -> Http:
        if not self._authority:
            return self._http
        return self._http.vouched(await asyncio.to_thread(caller_context, self._authority))

    async def _discover(self, http: Http) -> str:
        """OpenID Connect Discovery 1.0, section 4."""
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await http.json("GET", url, _Discovered, timeout_s=FETCH_S)
        if found.issuer != self._issuer:
            raise Misuse("the document is of another issuer", issuer=found.issuer[:200])
        if not found.jwks_uri.startswith(("https://", f"{self._issuer.rstrip('/')}/")):
            raise Misuse("the keys are at no https address", jwks=found.jwks_uri[:200])
        return found.jwks_uri
