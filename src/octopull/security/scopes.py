"""What a bearer token is asked for, and what it grants (distribution, docs/spec/auth/scope.md).

``repository:team/app:pull,push`` is a scope; a token's claim ``access`` lists what was granted.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from octopull.kernel.errors import Misuse

SCOPES_MAX = 10
"""In one request: a push with mounts from several repositories needs fewer."""

SCOPE_CHARS_MAX = 8 * 1024
_SCOPE = re.compile(
    r"(?P<kind>[a-z0-9]+)(?:\([a-z0-9]+\))?:(?P<name>[^\s,]+):(?P<actions>(?:[a-z]+|\*)(?:,(?:[a-z]+|\*))*)",
    re.ASCII,
)

REPOSITORY = "repository"
REGISTRY = "registry"
CATALOG = "catalog"
ANY = "*"
SIGN = "sign"
"""Of a repository where signatures are demanded: to read manifests that have none yet. Tokens to
pull say so for who may push, since what signs an image asks for no other to read it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Actions on one thing, such as the repository ``name``."""

    kind: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(self.actions)}"

    def allows(self, kind: str, name: str, action: str) -> bool:
        """Whether it is about just that thing, and ``action`` is among its actions."""
        return (self.kind, self.name) == (kind, name) and not {action, ANY}.isdisjoint(self.actions)


class _Entry(msgspec.Struct):
    type: str
    name: str
    actions: list[str] | None = None


def parse(texts: Iterable[str]) -> list[Scope]:
    """The scopes of one or several parameters, each of which may list several.

    Raises:
        Misuse: one is malformed, or there are too many.

    """
    words = " ".join(texts)
    if len(words) > SCOPE_CHARS_MAX or len(found := words.split()) > SCOPES_MAX:
        raise Misuse("too many scopes", most=SCOPES_MAX)
    return [_scope(one) for one in found]


def _scope(text: str) -> Scope:
    match = _SCOPE.fullmatch(text)
    if match is None:
        raise Misuse("a scope is type:name:action,action", scope=text[:80])
    return Scope(match["kind"], match["name"], tuple(dict.fromkeys(match["actions"].split(","))))


def granted(claim: object) -> tuple[Scope, ...]:
    """What the claim ``access`` of a token grants; None grants nothing.

    Raises:
        Misuse: it is no such claim.

    """
    try:
        entries = msgspec.convert([] if claim is None else claim, list[_Entry])
    except msgspec.ValidationError as error:
        raise Misuse("the token's access is no list of grants") from error
    return tuple(Scope(one.type, one.name, tuple(one.actions or ())) for one in entries)


def claim(scopes: Sequence[Scope]) -> list[dict[str, object]]:
    """The claim that ``granted`` reads."""
    return [{"type": one.kind, "name": one.name, "actions": list(one.actions)} for one in scopes]
