"""Whoever comes in is asked who they are, as far as the route needs it, and told why not."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from octopull.http.serving import ADMIN
from octopull.kernel.errors import Denied, Fault, Unauthenticated
from octopull.observability import metrics
from octopull.oci.challenges import Challenge
from octopull.oci.errors import OciCode, exact
from octopull.registry.access.access import Access
from octopull.registry.access.rights import Asked, Need, Place, asked
from octopull.security.callers import NOBODY, Caller
from octopull.security.policy import EVERYTHING, Action
from octopull.security.scopes import Scope

_CALLER = web.RequestKey("caller", Caller)
REALM = "octopull"


def caller_of(request: web.Request) -> Caller:
    """Who sends ``request``, as the door found out; nobody where it did not ask."""
    found: Caller = request.get(_CALLER, NOBODY)
    return found


class Door:
    """Lets requests in by what ``access`` says; ``service`` counts in metrics."""

    def __init__(self, access: Access, service: str) -> None:
        self.access = access
        self._service = service

    def middleware(self) -> Middleware:
        """Goes around handlers, inside of what gives repositories their names."""

        @web.middleware
        async def enter(request: web.Request, handler: Handler) -> web.StreamResponse:
            found = asked(request)
            if found is not None and not self._is_open(request, found):
                await self._admit(request, found)
            return await handler(request)

        return enter

    def _is_open(self, request: web.Request, about: Asked) -> bool:
        if about.place is Place.SERVICE:
            return request.app[ADMIN].took(request)
        return about.place is Place.OPEN

    def may(self, request: web.Request, action: Action, repository: str) -> bool:
        """Whether the caller may do something beside what the request is about."""
        return self.access.decide(caller_of(request), Need(action, repository)).allowed

    def sees_all(self, request: web.Request) -> bool:
        """Whether the caller may read what no repository refers to."""
        return self.may(request, Action.ADMIN, EVERYTHING)

    async def _admit(self, request: web.Request, about: Asked) -> None:
        """Returns if the request may go on.

        Raises:
            Unauthenticated: who asks has to prove who they are, or to show another token.
            Denied: who asks may not do that.

        """
        action = about.needs[0].action if about.needs else Action.PULL
        try:
            caller = await self.access.authentication.caller(request)
            self._decide(about, caller, shown="Authorization" in request.headers)
        except Unauthenticated as fault:
            self._count(action, "asked")
            raise self._challenging(request, about, fault) from fault
        except Denied:
            self._count(action, "denied")
            raise
        self._count(action, "allowed")
        request[_CALLER] = caller

    def _decide(self, about: Asked, caller: Caller, *, shown: bool) -> None:
        if about.place is Place.PRESENCE:
            # A client that is not asked here never shows what it has, whatever comes after.
            if not caller.known and caller.grants is None:
                raise Unauthenticated("log in first")
            return
        for need in about.needs:
            decision = self.access.decide(caller, need)
            if not decision.allowed:
                raise self._refusal(caller, decision.told, shown=shown)

    def _refusal(self, caller: Caller, told: str, *, shown: bool) -> Fault:
        """Another proof is asked for where it may help: a token, or a login beside a certificate."""
        if caller.grants is None:
            if not (shown and caller.known):
                return Unauthenticated(told)
            if self.access.files.policy is not None:
                return Denied(told)
        return exact(Unauthenticated(told, error="insufficient_scope"), OciCode.DENIED)

    def _challenging(self, request: web.Request, about: Asked, fault: Unauthenticated) -> Fault:
        service = self.access.settings.token_service
        if service is None:
            told = Challenge("basic", {"realm": REALM})
        else:
            realm = service.realm or f"{request.scheme}://{request.host}/token"
            parameters = {"realm": realm, "service": service.service}
            if about.needs:
                parameters["scope"] = str(_all_of([need.scope for need in about.needs]))
            if "Authorization" in request.headers:
                parameters["error"] = str(fault.details.get("error", "invalid_token"))
                parameters["error_description"] = str(fault)
            told = Challenge("bearer", parameters)
        again = Unauthenticated(str(fault), challenge=str(told))
        code = fault.details.get("oci")
        return exact(again, code) if isinstance(code, OciCode) else again

    def _count(self, action: Action, outcome: str) -> None:
        metrics.ACCESS_DECISIONS.labels(self._service, action.value, outcome).inc()


def _all_of(wanted: list[Scope]) -> Scope:
    """One scope of all the actions, which are about one repository."""
    actions = dict.fromkeys(action for one in wanted for action in one.actions)
    return Scope(wanted[0].kind, wanted[0].name, tuple(actions))
