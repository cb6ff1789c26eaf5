"""Services of the cluster are let in by their certificates; nobody else is."""

from aiohttp import web
from aiohttp.typedefs import Middleware

from octopull.http.server import Handler
from octopull.kernel.errors import Denied
from octopull.security.identity import caller_certificate
from octopull.security.mutual import Mutual
from octopull.security.reloading import Reloading
from octopull.security.rights import may
from octopull.security.roles import roles_of


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
        names = caller_certificate(request.transport)
        if _shown(request, "peercert") and (
            names is None or _shown(request, "proven_by") not in tls.current.authorities
        ):
            request.protocol.close()
            raise Denied("your certificate has ended, or its authority is ours no more")
        roles = roles_of(names)
        if not may(service, request.method, path, roles):
            if names is None:
                raise Denied("this is for services of the cluster, by their certificates")
            told = " and ".join(sorted(roles)) or "no service"
            caller = names.common if names else ""
            raise Denied(f"a certificate for {told} is not for this", caller=caller)
        return await handler(request)

    return admit


def _shown(request: web.Request, what: str) -> object:
    return None if request.transport is None else request.transport.get_extra_info(what)
