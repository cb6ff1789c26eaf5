"""Under which keys docker-registry keeps tags and what repositories hold.

distribution, registry/storage/paths.go: "v2 layout".
"""

from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidName
from octopull.kernel.names import TagName

_ROOT = "docker/registry/v2/repositories"
_CURRENT = "/current/link"


def tags_folder(repository: str) -> str:
    """What the keys of all tags of ``repository`` begin with."""
    return f"{_ROOT}/{repository}/_manifests/tags/"


def tag_folder(name: TagName) -> str:
    """What the keys of one tag begin with."""
    return f"{tags_folder(name.repository)}{name.tag}/"


def tag_link(name: TagName) -> str:
    """What the tag stands for now."""
    return f"{tags_folder(name.repository)}{name.tag}{_CURRENT}"


def tag_index_link(name: TagName, digest: Digest) -> str:
    """That the tag stands for ``digest``, or did."""
    return f"{tag_folder(name)}index/{digest.algorithm}/{digest.hex}/link"


def revision_link(repository: str, manifest: Digest) -> str:
    """That ``repository`` holds the manifest."""
    return f"{_ROOT}/{repository}/_manifests/revisions/{manifest.algorithm}/{manifest.hex}/link"


def layer_link(repository: str, blob: Digest) -> str:
    """That ``repository`` holds the blob."""
    return f"{_ROOT}/{repository}/_layers/{blob.algorithm}/{blob.hex}/link"


def listed_tag(repository: str, key: str) -> str | None:
    """The tag of which ``key`` is the ``tag_link``; None if it is another key."""
    folder = tags_folder(repository)
    if not key.startswith(folder) or not key.endswith(_CURRENT):
        return None
    try:
        return names.tag(key[len(folder) : -len(_CURRENT)])
    except InvalidName:
        return None
