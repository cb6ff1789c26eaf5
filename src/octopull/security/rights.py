"""Which service may ask what of which other: what a stolen certificate is good for.

The first rule of a service that fits a request decides; what no rule names is refused. Paths are
those of the route table, ``{...}`` for what varies, and a rule fits all that begin with its path.
"""

from dataclasses import dataclass

from octopull.security.roles import Role

AGENT, ORIGIN, TRACKER = Role.AGENT, Role.ORIGIN, Role.TRACKER
TAG_INDEX, PROXY, OPERATOR = Role.TAG_INDEX, Role.PROXY, Role.OPERATOR

OPEN = frozenset({"/health", "/readiness"})
"""For whoever comes, with a certificate or without: load balancers and init systems have none."""

READ = frozenset({"GET", "HEAD"})
WRITE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
POST = frozenset({"POST"})
ANY = READ | WRITE
EVERYONE = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Right:
    """That holders of one of ``roles`` may ask by ``methods`` what begins with ``path``."""

    methods: frozenset[str]
    path: str
    roles: frozenset[Role]


def _may(methods: frozenset[str], path: str, *roles: Role) -> Right:
    return Right(methods, path, frozenset(roles))


_STANDING = (
    Right(READ, "/metrics", EVERYONE),
    Right(READ, "/members", EVERYONE),
    Right(READ, "/x/config", EVERYONE),
    _may(WRITE, "/x/config", OPERATOR),
)
_BLOB = "/namespace/{namespace}/blobs/{digest}"
RIGHTS: dict[str, tuple[Right, ...]] = {
    "origin": (
        *_STANDING,
        # Copies between origins; an operator may look at what one holds (origin drain).
        _may(READ, "/internal/", ORIGIN, OPERATOR),
        _may(WRITE, "/internal/", ORIGIN),
        # Garbage collection is the tag index's.
        _may(READ, "/books", TAG_INDEX, OPERATOR),
        _may(READ, "/blobs", ORIGIN, TRACKER, TAG_INDEX, PROXY, OPERATOR),
        _may(POST, "/collect", TAG_INDEX),
        # Agents get blobs from the swarm, and what they must know of them from trackers.
        _may(POST, "/namespace/{namespace}/starts", ORIGIN, TRACKER, TAG_INDEX, PROXY),
        _may(POST, f"{_BLOB}/fetch", ORIGIN, TRACKER, TAG_INDEX, PROXY),
        _may(READ, "/", ORIGIN, TRACKER, TAG_INDEX, PROXY, OPERATOR),
        _may(WRITE, "/namespace/", ORIGIN, TAG_INDEX, PROXY, OPERATOR),
    ),
    "tracker": (
        *_STANDING,
        _may(POST, "/announce", AGENT),
        _may(POST, "/agents", AGENT),
        _may(ANY, "/preheats/", PROXY, OPERATOR),
        _may(ANY, "/namespace/", AGENT, PROXY, OPERATOR),
    ),
    "tag_index": (
        *_STANDING,
        # Whom its group believes decides what tags stand for.
        _may(POST, "/agreement", TAG_INDEX),
        # A tag index passes on to the one that leads what it was asked, and may have been.
        _may(POST, "/gc", OPERATOR, TAG_INDEX),
        _may(WRITE, "/replication", OPERATOR, TAG_INDEX),
        _may(READ, "/quotas", OPERATOR, TAG_INDEX),
        # A question, though it is asked by POST: agents ask before they serve a blob.
        _may(POST, "/repositories/{repository}/held", AGENT, PROXY, OPERATOR, TAG_INDEX),
        _may(READ, "/", AGENT, PROXY, OPERATOR, TAG_INDEX),
        _may(WRITE, "/", PROXY, OPERATOR, TAG_INDEX),
    ),
}  # fmt: skip


def may(service: str, method: str, path: str, roles: frozenset[Role]) -> bool:
    """Whether a caller with ``roles`` may ask that of ``service``."""
    if path in OPEN:
        return True
    for right in RIGHTS[service]:
        if method in right.methods and path.startswith(right.path):
            return not right.roles.isdisjoint(roles)
    return False
