"""Upstreams' repositories behind the registry API: their names, and answers that are old."""

from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from octopull.kernel.errors import Unsupported
from octopull.oci.upstreams import canonical, split

_READS = frozenset({"GET", "HEAD"})


def naming(upstreams: Collection[str]) -> Middleware:
    """Give every handler the repository's name within the cluster, whatever ``ns`` said.

    Its requests raise Unsupported if they would change what is an upstream's.
    """

    @web.middleware
    async def name(request: web.Request, handler: Handler) -> web.StreamResponse:
        repository = request.match_info.get("repository")
        if repository is not None:
            repository = canonical(repository, request.query.get("ns"), upstreams)
            found = split(repository, upstreams)
            if found is not None and request.method not in _READS:
                raise Unsupported(
                    f"{repository} is a copy of {found[0]}'s: it can only be pulled here",
                    method=request.method,
                )
            request.match_info["repository"] = repository
        elif "tag" in request.match_info:
            named, colon, tag = request.match_info["tag"].rpartition(":")
            request.match_info["tag"] = f"{canonical(named, None, upstreams)}{colon}{tag}"
        return await handler(request)

    return name


def staleness(reason: str) -> dict[str, str]:
    """The header that tells a client of an old answer (distribution-spec 1.1, "Warnings")."""
    return {"Warning": '299 - "Response is Stale"'} if reason else {}
