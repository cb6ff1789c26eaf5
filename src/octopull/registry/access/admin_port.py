"""What is of the service itself, such as metrics and preheats, answered on a port of its own alone."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from octopull.http.serving import ADMIN
from octopull.kernel.errors import Denied, NotFound
from octopull.registry.access.rights import Place, asked
from octopull.security.identity import caller_certificate
from octopull.security.roles import Role, roles_of


def apart() -> Middleware:
    """Goes around the door: who reaches the port for it needs no other right.

    But a certificate that says what its holder is in the cluster counts as what it says.
    """

    @web.middleware
    async def part(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = asked(request)
        if found is None or found.place is not Place.SERVICE:
            return await handler(request)
        if not request.app[ADMIN].took(request):
            raise NotFound("not on this port")
        _check_role(request)
        return await handler(request)

    return part


def _check_role(request: web.Request) -> None:
    """Raises Denied: the caller's certificate is a service's of the cluster, no operator's."""
    roles = roles_of(caller_certificate(request.transport))
    if roles and Role.OPERATOR not in roles:
        raise Denied(
            f"this port is for operators, and the certificate for {' and '.join(sorted(roles))}"
        )
