"""Which upstream registry a repository belongs to, told by its name.

The images of an upstream live under its name: ``docker.io/library/nginx``. A client names
the upstream that way, or by the parameter ``ns`` that containerd adds for mirrors
(containerd, docs/hosts.md).
"""

from collections.abc import Collection

DOCKER_HUB = "docker.io"
_OFFICIAL = "library/"


def canonical(repository: str, ns: str | None, upstreams: Collection[str]) -> str:
    """The repository's name within the cluster.

    That is ``<upstream>/<repository>`` if ``ns`` or the name itself says an upstream of
    ``upstreams``; any other name stays as it is, whatever ``ns`` says. A name of one part
    on Docker Hub means ``library/<name>``, as it does to docker.
    """
    found = split(repository, upstreams)
    if ns is not None and ns in upstreams:
        found = ns, repository
    if found is None:
        return repository
    upstream, name = found
    official = upstream == DOCKER_HUB and "/" not in name
    return f"{upstream}/{_OFFICIAL if official else ''}{name}"


def split(repository: str, upstreams: Collection[str]) -> tuple[str, str] | None:
    """The upstream and its own name of the repository; None if it is the cluster's own."""
    upstream, slash, name = repository.partition("/")
    return (upstream, name) if slash and name and upstream in upstreams else None
