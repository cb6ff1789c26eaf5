"""Headers that many answers of the registry API share."""

from octopull.kernel.digest import Digest

VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}


def about(digest: Digest) -> dict[str, str]:
    """What an answer about one piece of content says of it."""
    return {**VERSION_HEADER, "Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}
