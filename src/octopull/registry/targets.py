"""What a request of the registry API is about, and the answers that it isn't there."""

from aiohttp import web

from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Fault, InvalidName, NotFound
from octopull.oci.errors import OciCode, exact


def blob(request: web.Request) -> tuple[str, Digest]:
    """Repository and digest of a request for a blob.

    Raises:
        InvalidName, InvalidDigest: malformed.

    """
    repository = names.repository(request.match_info["repository"])
    return repository, Digest.parse(request.match_info["digest"])


def manifest(request: web.Request) -> tuple[str, Digest | str]:
    """Repository and reference of a manifest that should exist.

    Raises:
        InvalidName, InvalidDigest: malformed. NotFound: no tag can have that name.

    """
    repository = names.repository(request.match_info["repository"])
    try:
        return repository, names.reference(request.match_info["reference"])
    except InvalidName as fault:
        raise no_manifest() from fault


def no_blob() -> Fault:
    """404 in the registry API's words."""
    return exact(NotFound("no such blob"), OciCode.BLOB_UNKNOWN)


def no_manifest() -> Fault:
    """404 in the registry API's words."""
    return exact(NotFound("no such manifest"), OciCode.MANIFEST_UNKNOWN)
