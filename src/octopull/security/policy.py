"""Who may do what to which repositories: rules, decisions, and the reasons for them.

What no rule allows is denied; a rule that denies counts before all that allow.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from octopull.config.policy import Effect, PolicyRuleSettings, PolicySettings
from octopull.kernel.errors import Misuse
from octopull.security import callers, signatures
from octopull.security.callers import Caller, Who
from octopull.security.globs import Glob
from octopull.security.signatures import ReadFile, no_files

T = TypeVar("T")

EVERYTHING = "*"
"""In place of a repository: what is about all of them, or about none, such as metrics."""


class Action(StrEnum):
    """What a caller may be allowed to do."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    REPLICATE = "replicate"
    """To tell of changes that were made in another cluster, at a time that is told along."""
    ADMIN = "admin"
    """To see and steer a service itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the file; ``number`` counts from 1."""

    number: int
    name: str
    who: tuple[Who, ...]
    repositories: tuple[Glob, ...]
    actions: frozenset[Action]
    effect: Effect

    def covers(self, repository: str) -> bool:
        """Whether it is about ``repository``; about everything, if it denies a part of it."""
        if repository != EVERYTHING:
            return any(glob.matches(repository) for glob in self.repositories)
        return self.effect is Effect.DENY or any(glob.is_everything for glob in self.repositories)

    def __str__(self) -> str:
        named = f" ({self.name})" if self.name else ""
        return f"rule {self.number}{named}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an action is allowed.

    ``reason`` is for those who may read the rules, ``told`` for the caller.
    """

    allowed: bool
    reason: str
    told: str


class Policy:
    """The rules of one file; ``read`` gets the keys that it names.

    Raises:
        Misuse: they can't be understood; every mistake is told at once.

    """

    def __init__(self, settings: PolicySettings, read: ReadFile = no_files) -> None:
        mistakes: list[str] = []
        self._groups = {
            name: _whos(f"groups.{name}", members, mistakes)
            for name, members in settings.groups.items()
        }
        self._rules = [_rule(number, one, mistakes) for number, one in enumerate(settings.rules, 1)]
        self.signatures = signatures.parse(settings.signatures, read, mistakes)
        """What must be signed to be pulled, whoever pulls it."""
        if mistakes:
            raise Misuse("\n".join(["the rules of access are not usable:", *mistakes]))

    def groups(self, caller: Caller) -> frozenset[str]:
        """All groups that ``caller`` is in: those that were proven, and those of the file.

        Who is in a group is in all groups that it is a member of, and so on.
        """
        found, new = caller.groups, caller.groups
        others = self._groups
        while True:
            within = {
                name
                for name, members in others.items()
                if any(one.includes(caller, new) for one in members)
            }
            if not within:
                return found
            # Each is found once, so groups that are within each other end.
            others = {name: others[name] for name in others.keys() - within}
            found, new = found | within, frozenset(within)

    def decide(self, caller: Caller, action: Action, repository: str) -> Decision:
        """Whether ``caller`` may do ``action`` to ``repository``, or to ``EVERYTHING``."""
        found = self._found(caller, self.groups(caller), {action}, repository)[action]
        asked = sentence(caller, action, repository)
        if Effect.DENY in found:
            rule, who = found[Effect.DENY]
            return Decision(False, f"{rule} denies it to {who}", f"{asked}: a rule denies it")
        if Effect.ALLOW in found:
            rule, who = found[Effect.ALLOW]
            return Decision(True, f"{rule} allows it to {who}", "")
        return Decision(False, "no rule allows it", f"{asked}: no rule allows it")

    def allowed(
        self, caller: Caller, groups: frozenset[str], actions: AbstractSet[Action], repository: str
    ) -> frozenset[Action]:
        """Those of ``actions`` that ``caller`` may do: as ``decide``, and each rule is asked once.

        ``groups`` are all that ``caller`` is in, found once for many repositories.
        """
        found = self._found(caller, groups, actions, repository)
        return frozenset(one for one in actions if found[one].keys() == {Effect.ALLOW})

    def _found(
        self, caller: Caller, groups: frozenset[str], actions: AbstractSet[Action], repository: str
    ) -> Mapping[Action, Mapping[Effect, tuple[Rule, Who]]]:
        """For each of ``actions`` the first rule of each effect that is about all of it."""
        found: dict[Action, dict[Effect, tuple[Rule, Who]]] = {one: {} for one in actions}
        for rule in self._rules:
            about = [one for one in rule.actions & actions if rule.effect not in found[one]]
            if about and rule.covers(repository):
                who = next((one for one in rule.who if one.includes(caller, groups)), None)
                if who is not None:
                    for action in about:
                        found[action][rule.effect] = rule, who
        return found


_WORDS = {
    Action.PULL: "pull from",
    Action.PUSH: "push to",
    Action.DELETE: "delete from",
    Action.REPLICATE: "replicate to",
}


def sentence(caller: Caller, action: Action, repository: str) -> str:
    """That ``caller`` may not, in words for people."""
    if action is Action.ADMIN:
        return f"{caller} may not administer this service"
    if repository == EVERYTHING:
        return f"{caller} may not {_WORDS[action]} all repositories"
    return f"{caller} may not {_WORDS[action]} {repository}"


def _whos(where: str, texts: Sequence[str], mistakes: list[str]) -> tuple[Who, ...]:
    return tuple(_parsed(where, texts, callers.parse, mistakes))


def _rule(number: int, settings: PolicyRuleSettings, mistakes: list[str]) -> Rule:
    where = f"rule {number}"
    known: Mapping[str, Action] = {action.value: action for action in Action}
    unknown = sorted(set(settings.actions) - known.keys())
    if unknown:
        mistakes.append(
            f"{where}: no such action: {', '.join(unknown)}; there are {', '.join(known)}"
        )
    return Rule(
        number,
        settings.name,
        _whos(where, settings.who, mistakes),
        tuple(_parsed(where, settings.repositories, Glob, mistakes)),
        frozenset(known[one] for one in settings.actions if one in known),
        settings.effect,
    )


def _parsed(
    where: str, texts: Iterable[str], parse: Callable[[str], T], mistakes: list[str]
) -> Iterator[T]:
    for text in texts:
        try:
            yield parse(text)
        except Misuse as fault:
            mistakes.append(f"{where}: {fault}")
