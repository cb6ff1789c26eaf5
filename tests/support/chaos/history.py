"""What clients asked of a cluster, and what it told them."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from support.chaos.linearizable import Step, Value


class Action(StrEnum):
    """What a client does with a tag; a move pushes only a manifest, whose blobs are there."""

    PUSH = "push"
    MOVE = "move"
    DELETE = "delete"
    PULL = "pull"


class Outcome(StrEnum):
    """What a client knows afterwards."""

    DONE = "done"
    REFUSED = "refused"
    """It was certainly not done."""
    UNKNOWN = "unknown"


class Tag(NamedTuple):
    """A tag of a repository."""

    repository: str
    name: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.name}"


@dataclass(slots=True, kw_only=True)
class Operation:
    """One request about a tag, in seconds since the run began.

    ``value`` is the digest that was put or found; None: that there be none, or is none. ``stale``
    says that the answer itself said it may be old.
    """

    client: str
    action: Action
    tag: Tag
    via: str
    invoked_s: float
    value: Value = None
    returned_s: float = math.inf
    outcome: Outcome = Outcome.UNKNOWN
    stale: bool = False
    said: str = ""

    def __str__(self) -> str:
        value = "nothing" if self.value is None else self.value[7:19]
        until = "?" if self.returned_s == math.inf else f"{self.returned_s:7.3f}"
        stale = "may be stale" if self.stale else ""
        return (f"{self.invoked_s:7.3f}..{until} {self.client} {self.action} {self.tag} "
                f"{value} via {self.via}: {self.outcome} {stale}{self.said}").rstrip()  # fmt: skip


class Spell(NamedTuple):
    """A mishap that was: what befell which node, from when to when."""

    kind: str
    node: str
    way: str
    from_s: float
    to_s: float

    def __str__(self) -> str:
        return f"{self.from_s:7.3f}..{self.to_s:7.3f} {self.node} {self.way}"


@dataclass
class History:
    """All operations, in the order in which they began, and all mishaps that were."""

    now: Callable[[], float]
    operations: list[Operation] = field(default_factory=list[Operation])
    spells: list[Spell] = field(default_factory=list[Spell])

    def began(
        self, client: str, action: Action, tag: Tag, via: str, value: Value = None
    ) -> Operation:
        """Note an operation; its end is noted by ``ended``."""
        one = Operation(
            client=client, action=action, tag=tag, via=via, value=value, invoked_s=self.now()
        )
        self.operations.append(one)
        return one

    def ended(self, one: Operation, outcome: Outcome, said: str = "") -> None:
        """Note what the client knows now; of what it does not know there is no end."""
        one.outcome, one.said = outcome, said
        if outcome is not Outcome.UNKNOWN:
            one.returned_s = self.now()

    @property
    def tags(self) -> list[Tag]:
        """Every tag that was asked about, in order."""
        return sorted({one.tag for one in self.operations})

    def steps(self, tag: Tag) -> list[Step]:
        """The operations on ``tag`` that bind it, or may."""
        return [
            Step(writes=one.action is not Action.PULL, value=one.value, invoked_s=one.invoked_s,
                 returned_s=one.returned_s, note=f"{one.client} via {one.via}")
            for one in self.operations
            if one.tag == tag and _binds(one)
        ]  # fmt: skip

    def story(self, tags: Collection[Tag]) -> str:
        """All that was asked of ``tags``, and the mishaps, in the order in which they began."""
        told = [(one.invoked_s, str(one)) for one in self.operations if one.tag in tags]
        told += [(one.from_s, f"{one} " + "-" * 20) for one in self.spells]
        return "\n".join(line for _, line in sorted(told))


def _binds(one: Operation) -> bool:
    if one.action is Action.PULL:
        return one.outcome is Outcome.DONE and not one.stale
    return one.outcome is not Outcome.REFUSED
