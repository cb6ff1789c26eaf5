"""What a specification requires, said where it is tested."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "octopull_requirements"


class Level(StrEnum):
    """RFC 2119's words; ``IS`` for what a specification says without one."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    IS = "is"


MUST, SHOULD, MAY, IS = Level.MUST, Level.SHOULD, Level.MAY, Level.IS


@dataclass(frozen=True, slots=True)
class Requirement:
    """One sentence of ``section``, quoted as far as it is needed."""

    section: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Untested:
    """A requirement that no test can fail, and why."""

    requirement: Requirement
    reason: str


def requirement(section: str, level: Level, text: str) -> Callable[[F], F]:
    """Say what the decorated test shows; may be repeated, outermost first."""

    def mark(test: F) -> F:
        setattr(test, _MARK, (Requirement(section, level, text), *requirements_of(test)))
        return test

    return mark


def requirements_of(test: object) -> tuple[Requirement, ...]:
    """What ``test`` was decorated with, in the order of the source."""
    found: tuple[Requirement, ...] = getattr(test, _MARK, ())
    return found
