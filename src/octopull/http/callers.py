"""Who shows a certificate is let in as long as it would be believed; to services, nobody else is."""

import ssl
from collections.abc import Callable
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware

from octopull.http.server import Handler
from octopull.kernel.errors import Denied
from octopull.security.identity import caller_certificate
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading
from octopull.security.rights import may
from octopull.security.roles import roles_of


class Believing(Protocol):
    """What a port believes now: contexts that are older may have believed more."""

    @property
    def context(self) -> ssl.SSLContext: ...
    @property
    def authorities(self) -> frozenset[bytes]:
        """In DER."""
        ...


def only_for_services(service: str, tls: Reloading[Mutual]) -> Middleware:
    """Refuses what a caller's certificate gives it no right to ask of ``service``.

    One that would be believed no more, by ``tls`` as it is now, gives none: its connection ends
    with the answer.
    """

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        # What no route takes is answered as such, to those who may know.
        path = "/" if resource is None else resource.canonical
        _end_if_disbelieved(request, tls.current)
        names = caller_certificate(request.transport)
        roles = roles_of(names)
        if not may(service, request.method, path, roles):
            if names is None:
                raise Denied("this is for services of the cluster, by their certificates")
            told = " and ".join(sorted(roles)) or "no service"
            caller = names.common if names else ""
            raise Denied(f"a certificate for {told} is not for this", caller=caller)
        return await handler(request)

    return admit


def while_believed(at: Callable[[web.Request], Believing | None]) -> Middleware:
    """Ends connections of clients whose certificates have ended, or whose authority was dropped.

    ``at`` says what is believed now where a request came in; None: it asks for no certificates.
    """

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        now = at(request)
        if now is not None:
            _end_if_disbelieved(request, now)
        return await handler(request)

    return admit


def _end_if_disbelieved(request: web.Request, now: Believing) -> None:
    """Raises Denied, and closes the connection behind the answer."""
    if not _shown(request, "peercert"):
        return
    authority = _shown(request, "proven_by")
    # A session that was resumed does not say who proved it: its context did, as it was then.
    believed = authority in now.authorities or (
        not authority and _shown(request, "sslcontext") is now.context
    )
    if not believed or caller_certificate(request.transport) is None:
        request.protocol.close()
        raise Denied("your certificate has ended, or its authority is ours no more")


def _shown(request: web.Request, what: str) -> object:
    return None if request.transport is None else request.transport.get_extra_info(what)
