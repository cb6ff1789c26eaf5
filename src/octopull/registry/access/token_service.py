"""Gives tokens that allow something: who asks proves who they are, once for many requests.

Distribution, docs/spec/auth/token.md, and docs/spec/auth/oauth.md for ``POST``. Rules are asked
here; a token says what they allowed of what was asked for, and lives for minutes.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from aiohttp import web

from octopull.config.access import TokenServiceSettings
from octopull.http.crowd import address_of
from octopull.http.server import json_answer
from octopull.kernel import names
from octopull.kernel.errors import Denied, Fault, InvalidName, Misuse, TooLarge, Unauthenticated
from octopull.oci.challenges import Challenge
from octopull.registry.access.access import Access
from octopull.registry.access.door import REALM
from octopull.security import issuing, scopes
from octopull.security.callers import Caller
from octopull.security.followed import FollowedFile
from octopull.security.key_sets import KeySet
from octopull.security.policy import EVERYTHING, Action
from octopull.security.scopes import ANY, CATALOG, REGISTRY, REPOSITORY, SIGN, Scope

FORM = "application/x-www-form-urlencoded"
FORM_BYTES_MAX = 64 * 1024
FIELDS_MAX = 100
KEYS_AGE_S = 300

_OF_REPOSITORY = (Action.PULL, Action.PUSH, Action.DELETE, Action.REPLICATE)
_OF_REGISTRY = {CATALOG: Action.PULL, "admin": Action.ADMIN}


class TokenService:
    """The handlers; see ``add_to`` for the table of routes."""

    def __init__(
        self, access: Access, settings: TokenServiceSettings, signer: FollowedFile[issuing.Signer]
    ) -> None:
        self._access = access
        self._settings = settings
        self._signer = signer

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.add_routes(
            [
                web.get("/token", self.get, allow_head=False),
                web.post("/token", self.post),
                web.get("/token/keys", self.keys),
            ]
        )

    async def get(self, request: web.Request) -> web.Response:
        """A token for whoever the header ``Authorization``, or the certificate, says it is."""
        try:
            caller = await self._access.authentication.caller(request)
        except Unauthenticated as fault:
            raise _asking(fault) from fault
        service = request.query.get("service", self._settings.service)
        return await self._answer(caller, service, request.query.getall("scope", []))

    async def post(self, request: web.Request) -> web.Response:
        """As ``get``, with the password, or a token in its place, in a form (OAuth 2)."""
        form = await _form(request)
        try:
            caller = await self._granted(form, address_of(request.transport))
        except Unauthenticated as fault:
            raise _asking(fault) from fault
        service = form.get("service", self._settings.service)
        return await self._answer(caller, service, [form.get("scope", "")])

    async def keys(self, _: web.Request) -> web.Response:
        """The keys that prove the tokens."""
        found = KeySet(tuple(key for one in self._access.files.public() for key in one.keys))
        headers = {"Cache-Control": f"max-age={KEYS_AGE_S}"}
        body = issuing.shown(found)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _granted(self, form: Mapping[str, str], address: str) -> Caller:
        match form.get("grant_type"):
            case "password":
                user, password = form.get("username", ""), form.get("password", "")
                return await self._access.authentication.login(user, password, address)
            case "refresh_token":
                return await self._access.authentication.bearer(form.get("refresh_token", ""))
        raise Misuse("grant_type is password or refresh_token")

    async def _answer(self, caller: Caller, service: str, asked: Sequence[str]) -> web.Response:
        if caller.grants is not None:
            # Or it could be made anew for ever.
            raise Denied("a token of this service gives no other one")
        if service != self._settings.service:
            raise Misuse("this service gives tokens for another one", service=service[:200])
        grants = await self._allowed(caller, scopes.parse(asked))
        now_s = time.time()
        name = caller.name or next(iter(caller.certificates), "")
        token = self._signer.now.token(self._settings, name, grants, now_s)
        answer = json_answer(
            {
                "token": token,
                "access_token": token,
                "expires_in": int(self._settings.lifetime_s),
                "issued_at": f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
                "scope": " ".join(map(str, grants)),
            }
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def _allowed(self, caller: Caller, asked: Sequence[Scope]) -> list[Scope]:
        """What of ``asked`` the rules allow."""
        if self._access.files.policy is None:
            return []
        policy = self._access.files.policy.now
        groups, grants = policy.groups(caller), list[Scope]()
        for scope in asked:
            kind, about, actions = _meant(scope)
            signs = Action.PULL in actions and bool(policy.signatures.of(about))
            wanted = {*actions, Action.PUSH} if signs else actions.keys()
            allowed = policy.allowed(caller, groups, wanted, about)
            granted = [actions[one] for one in actions if one in allowed]
            if signs and Action.PUSH in allowed:
                granted.append(SIGN)
            grants.append(Scope(kind, scope.name, tuple(granted)))
            # Anybody may ask, of all rules: no longer at a time than any other request.
            await asyncio.sleep(0)
        return [one for one in grants if one.actions]


def _meant(scope: Scope) -> tuple[str, str, dict[Action, str]]:
    """The kind of a scope, what it is about, and the actions it asks for, as tokens call them."""
    if scope.kind == REGISTRY:
        action = _OF_REGISTRY.get(scope.name)
        return REGISTRY, EVERYTHING, {} if action is None else {action: ANY}
    if scope.kind != REPOSITORY or not _is_repository(scope.name):
        return scope.kind, scope.name, {}
    asked = [one for one in _OF_REPOSITORY if {one.value, ANY} & set(scope.actions)]
    return REPOSITORY, scope.name, {one: one.value for one in asked}


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type != FORM:
        return {}
    try:
        # However long it says that it is, or if it does not say.
        body = await request.clone(client_max_size=FORM_BYTES_MAX).read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge("the form is too long", bytes_max=FORM_BYTES_MAX) from error
    return read_form(body)


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form; of those that are there twice, the last.

    Raises:
        Misuse: it is no UTF-8, or has too many.

    """
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise Misuse(f"not a form of at most {FIELDS_MAX} fields in UTF-8") from error
    return dict(fields)


def _is_repository(name: str) -> bool:
    try:
        names.repository(name)
    except InvalidName:
        return False
    return True


def _asking(fault: Unauthenticated) -> Fault:
    return Unauthenticated(str(fault), challenge=str(Challenge("basic", {"realm": REALM})))
