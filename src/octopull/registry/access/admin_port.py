"""What is of the service itself, such as metrics and preheats, answered on a port of its own alone."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from octopull.http.serving import ADMIN
from octopull.kernel.errors import NotFound
from octopull.registry.access.rights import Place, asked


def apart() -> Middleware:
    """Goes around the door: who reaches the port for it needs no other right."""

    @web.middleware
    async def part(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = asked(request)
        if found is None or found.place is not Place.SERVICE:
            return await handler(request)
        if not request.app[ADMIN].took(request):
            raise NotFound("not on this port")
        return await handler(request)

    return part
