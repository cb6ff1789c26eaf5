"""Who may do what: a file of its own, read anew while proxies and agents run (docs/access.md)."""

from dataclasses import dataclass, field
from enum import StrEnum

from octopull.kernel.errors import Misuse

RULES_MAX = 10_000
"""Each request is compared with all of them."""

DEMANDS_MAX = 100
"""Each pull is compared with all of them."""

KEYS_MAX = 16
"""Each signature is tried with all of them: the one in use, old ones, and a team's few."""


class Effect(StrEnum):
    """What a rule does to whom it is about."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRuleSettings:
    """Some callers, some repositories, some actions."""

    who: list[str]
    """``anyone``, ``known``, ``user:NAME``, ``group:NAME``, ``certificate:NAME`` or
    ``claim:ISSUER:NAME=VALUE``; names and values are patterns."""
    repositories: list[str]
    """Patterns: ``*`` is any characters but a slash, ``**`` any at all."""
    actions: list[str]
    """``pull``, ``push``, ``delete``, ``replicate``, ``admin``."""
    effect: Effect = Effect.ALLOW
    name: str = ""
    """For people who read why something was decided."""

    def __post_init__(self) -> None:
        if not (self.who and self.repositories and self.actions):
            raise Misuse("a rule names who, repositories and actions", name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureSettings:
    """Some repositories, from which only what is signed may be pulled."""

    repositories: list[str]
    """Patterns, as in rules. A repository that several lines are about must satisfy each."""
    keys: list[str]
    """Files of public keys in PEM, as cosign writes them; relative to the file of rules. One of
    them must have signed."""

    def __post_init__(self) -> None:
        if not (self.repositories and self.keys):
            raise Misuse("a demand for signatures names repositories and keys")
        if len(self.keys) > KEYS_MAX:
            raise Misuse("too many keys", most=KEYS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """The file."""

    groups: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Members of groups, as rules name them."""
    rules: list[PolicyRuleSettings] = field(default_factory=list[PolicyRuleSettings])
    signatures: list[SignatureSettings] = field(default_factory=list[SignatureSettings])

    def __post_init__(self) -> None:
        if len(self.signatures) > DEMANDS_MAX:
            raise Misuse("too many demands for signatures", most=DEMANDS_MAX)
        if len(self.rules) > RULES_MAX:
            raise Misuse("too many rules", most=RULES_MAX)
