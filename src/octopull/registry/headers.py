"""Headers that answers of the registry API share."""

from aiohttp import web

from octopull.kernel.digest import Digest

VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}


def about(digest: Digest) -> dict[str, str]:
    """What an answer about one piece of content says of it."""
    return {**VERSION_HEADER, "Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}


def unchanged(request: web.Request, digest: Digest) -> bool:
    """Whether the client has just this content (RFC 9110 section 13.1.2, ``If-None-Match``).

    Compared weakly; a malformed header counts as none.
    """
    try:
        tags = request.if_none_match
    except ValueError:
        return False
    return tags is not None and any(tag.value in {"*", str(digest)} for tag in tags)


def not_modified(digest: Digest) -> web.Response:
    """304: the client's copy is right."""
    return web.Response(status=304, headers=about(digest))
