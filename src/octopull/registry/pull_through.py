"""Upstreams' repositories behind the registry API: their names, and answers that are old."""

from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from octopull.kernel.errors import Unsupported
from octopull.oci.upstreams import canonical, split

_READS = frozenset({"GET", "HEAD"})
_SOURCE = web.RequestKey("source", str)


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
            if (source := request.query.get("from")) is not None:
                request[_SOURCE] = canonical(source, None, upstreams)
        elif "namespace" in request.match_info:
            namespace = request.match_info["namespace"]
            request.match_info["namespace"] = canonical(namespace, None, upstreams)
        elif "tag" in request.match_info:
            named, colon, tag = request.match_info["tag"].rpartition(":")
            request.match_info["tag"] = f"{canonical(named, None, upstreams)}{colon}{tag}"
        return await handler(request)

    return name


def source_of(request: web.Request) -> str | None:
    """The repository that a mount names, by its name within the cluster; None if it names none."""
    found: str | None = request.get(_SOURCE, request.query.get("from"))
    return found


def staleness(reason: str) -> dict[str, str]:
    """The header that tells a client of an old answer (distribution-spec 1.1, "Warnings")."""
    return {"Warning": '299 - "Response is Stale"'} if reason else {}
