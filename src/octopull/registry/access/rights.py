"""What each route of proxy and agent asks of its caller.

What is not in the table is of the service itself: for administrators alone, or on a port of its
own. So a route that somebody adds is closed until it is given a place here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from aiohttp import web

from octopull.clients.tag_index import MOVED_AT_HEADER
from octopull.kernel import names
from octopull.kernel.names import TagName
from octopull.security.policy import EVERYTHING, Action
from octopull.security.scopes import ANY, CATALOG, REGISTRY, REPOSITORY, Scope


class Place(Enum):
    """What a route is about."""

    OPEN = auto()
    """Anybody may ask: it tells nothing, or asks who calls by itself."""
    PRESENCE = auto()
    """The API's presence: clients ask it to learn how to log in, and whether they did."""
    CATALOG = auto()
    REPOSITORY = auto()
    NAMESPACE = auto()
    TAG = auto()
    SERVICE = auto()


READ: Mapping[str, Action] = {"GET": Action.PULL, "HEAD": Action.PULL}
PUSH = dict.fromkeys(("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"), Action.PUSH)
CHANGE: Mapping[str, Action] = {**READ, "PUT": Action.PUSH, "DELETE": Action.DELETE}
NOTHING: Mapping[str, Action] = {}

_V2 = "/v2/{repository}"
ROUTES: Mapping[str, tuple[Place, Mapping[str, Action]]] = {
    "/health": (Place.OPEN, NOTHING),
    "/readiness": (Place.OPEN, NOTHING),
    "/token": (Place.OPEN, NOTHING),
    "/token/keys": (Place.OPEN, NOTHING),
    "/v2/{rest}": (Place.OPEN, NOTHING),
    "/v2/": (Place.PRESENCE, NOTHING),
    "/v2": (Place.PRESENCE, NOTHING),
    "/v2/_catalog": (Place.CATALOG, READ),
    f"{_V2}/tags/list": (Place.REPOSITORY, READ),
    f"{_V2}/referrers/{{digest}}": (Place.REPOSITORY, READ),
    f"{_V2}/manifests/{{reference}}": (Place.REPOSITORY, CHANGE),
    f"{_V2}/blobs/{{digest}}": (Place.REPOSITORY, CHANGE),
    f"{_V2}/blobs/uploads/": (Place.REPOSITORY, PUSH),
    f"{_V2}/blobs/uploads": (Place.REPOSITORY, PUSH),
    f"{_V2}/blobs/uploads/{{token}}": (Place.REPOSITORY, PUSH),
    "/namespace/{namespace}/blobs/{digest}": (Place.NAMESPACE, READ),
    "/tags/{tag}": (Place.TAG, READ),
}
"""By the route's path as it was registered. ``/v2/{rest}`` is refused by its handler."""


@dataclass(frozen=True, slots=True)
class Need:
    """One action that the caller must be allowed."""

    action: Action
    repository: str

    @property
    def scope(self) -> Scope:
        """What a token must be asked for."""
        match self.action:
            case Action.ADMIN:
                return Scope(REGISTRY, "admin", (ANY,))
            case Action.PULL if self.repository == EVERYTHING:
                return Scope(REGISTRY, CATALOG, (ANY,))
            case Action.PUSH:
                return Scope(REPOSITORY, self.repository, ("pull", "push"))
        return Scope(REPOSITORY, self.repository, (self.action.value,))

    def within(self, grants: tuple[Scope, ...]) -> bool:
        """Whether a token that grants these allows it."""
        wanted = self.scope
        action = ANY if wanted.kind == REGISTRY else self.action.value
        return any(one.allows(wanted.kind, wanted.name, action) for one in grants)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is about, and all that its caller must be allowed."""

    place: Place
    needs: tuple[Need, ...] = ()


def asked(request: web.Request) -> Asked | None:
    """What ``request`` asks; None if no route takes it.

    Raises:
        InvalidName: it names no repository.

    """
    resource = request.match_info.route.resource
    if resource is None:
        return None
    place, actions = ROUTES.get(resource.canonical, (Place.SERVICE, NOTHING))
    if place in {Place.OPEN, Place.PRESENCE}:
        return Asked(place)
    action = actions.get(request.method, Action.ADMIN)
    if action is Action.ADMIN:
        return Asked(Place.SERVICE, (Need(action, EVERYTHING),))
    repository = _repository(request, place)
    needs = [Need(action, repository)]
    if action in {Action.PUSH, Action.DELETE} and MOVED_AT_HEADER in request.headers:
        needs.append(Need(Action.REPLICATE, repository))
    return Asked(place, tuple(needs))


def _repository(request: web.Request, place: Place) -> str:
    match place:
        case Place.CATALOG:
            return EVERYTHING
        case Place.NAMESPACE:
            return names.namespace(request.match_info["namespace"])
        case Place.TAG:
            return TagName.parse(request.match_info["tag"]).repository
    return names.repository(request.match_info["repository"])
