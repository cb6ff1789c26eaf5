"""Who sends a request, as far as that was proven, and how rules say whom they are about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from octopull.kernel.errors import Misuse
from octopull.security.globs import Glob
from octopull.security.scopes import Scope

_WHO = re.compile(r"(?P<kind>user|group|certificate|claim):(?P<rest>.+)", re.DOTALL)
ANYONE, KNOWN = "anyone", "known"
SHOWN_CHARS_MAX = 120
"""Of names in answers and their headers: issuers and authorities choose how long those are."""

FORMS = "anyone, known, user:NAME, group:NAME, certificate:NAME or claim:ISSUER:NAME=VALUE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request. One of whom nothing was proven has neither name nor certificate.

    ``claims`` are those of a token that an issuer signed, by ``issuer:name``. ``grants`` are what
    the caller may do, where a token service said so: then rules are not asked.
    """

    name: str = ""
    groups: frozenset[str] = frozenset()
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    certificates: tuple[str, ...] = ()
    grants: tuple[Scope, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether anything was proven."""
        return bool(self.name or self.certificates)

    def __str__(self) -> str:
        if self.name:
            return self.name[:SHOWN_CHARS_MAX]
        if self.certificates:
            return f"the bearer of certificate {self.certificates[0][:SHOWN_CHARS_MAX]}"
        return "somebody who is not logged in"


NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Who:
    """One word of a rule: some callers."""

    text: str
    kind: str
    pattern: Glob
    claim: str = ""

    def includes(self, caller: Caller, groups: frozenset[str]) -> bool:
        """Whether ``caller``, who is in ``groups``, is meant."""
        match self.kind:
            case "anyone":
                return True
            case "known":
                return caller.known
            case "user":
                names: tuple[str, ...] = (caller.name,) if caller.name else ()
            case "group":
                names = tuple(groups)
            case "certificate":
                names = caller.certificates
            case _:
                names = caller.claims.get(self.claim, ())
        return any(self.pattern.matches(name) for name in names)

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Who:
    """The callers that a word of a rule means: see ``FORMS``; names are patterns.

    Raises:
        Misuse: it has none of the forms.

    """
    if text in {ANYONE, KNOWN}:
        return Who(text, text, Glob("**"))
    match = _WHO.fullmatch(text)
    if match is None:
        raise Misuse(f"{text[:80]!r} is none of {FORMS}")
    if match["kind"] != "claim":
        return Who(text, match["kind"], Glob(match["rest"]))
    claim, equals, value = match["rest"].partition("=")
    if not equals or not value or ":" not in claim:
        raise Misuse(f"{text[:80]!r} is no claim:ISSUER:NAME=VALUE")
    return Who(text, "claim", Glob(value), claim)
