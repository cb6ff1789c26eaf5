"""What befalls a cluster in one run: drawn from a table, by a seed, and by nothing else."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """What befalls a node."""

    KILLED = "killed"
    """kill -9, and started again."""
    WIPED = "wiped"
    """Killed, and started again with an empty disk."""
    STOPPED = "stopped"
    """As a machine does that hangs: it takes connections, and says nothing."""
    CUT = "cut off"
    """Its link is down."""
    PARTED = "parted"
    """It and those of another kind do not hear each other; everybody else hears both."""
    FILLED = "disk full"
    SLOWED = "disk slow"
    DAMAGED = "disk damaged"
    """Bytes of a blob are other bytes. Found when it is started again."""
    CLOCK = "clock wrong"
    ROLLED = "rolling restart"
    """All of its kind are stopped in order and started, one after another."""


TABLE: dict[str, dict[Way, int]] = {
    "origin": {
        Way.KILLED: 4, Way.WIPED: 2, Way.STOPPED: 2, Way.CUT: 2, Way.PARTED: 2, Way.FILLED: 1,
        Way.SLOWED: 2, Way.DAMAGED: 2, Way.CLOCK: 1, Way.ROLLED: 1,
    },
    "tracker": {Way.KILLED: 4, Way.STOPPED: 2, Way.CUT: 2, Way.PARTED: 1, Way.CLOCK: 1,
                Way.ROLLED: 1},
    "tag-index": {
        Way.KILLED: 4, Way.STOPPED: 2, Way.CUT: 2, Way.PARTED: 2, Way.FILLED: 1, Way.CLOCK: 1,
        Way.ROLLED: 1, Way.WIPED: 2, Way.SLOWED: 2,
    },
    "proxy": {Way.KILLED: 4, Way.STOPPED: 1, Way.CUT: 1, Way.PARTED: 1, Way.CLOCK: 1, Way.ROLLED: 1},
    "agent": {
        Way.KILLED: 4, Way.WIPED: 2, Way.STOPPED: 1, Way.CUT: 1, Way.PARTED: 1, Way.FILLED: 1,
        Way.SLOWED: 1, Way.DAMAGED: 1, Way.CLOCK: 1, Way.ROLLED: 1,
    },
}  # fmt: skip
"""How often each is drawn, against the others of its kind of node."""

PAUSE_S = (0.5, 2.5)
LASTS_S = (1.0, 4.0)
FIRST_S = 3.0
"""The first of a kind comes within that time."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """``way`` befalls the node of that number ``after_s`` after the one before, ``for_s`` long.

    ``draw`` decides what is left: who is parted from it, which blob is damaged.
    """

    kind: str
    node: int
    way: Way
    after_s: float
    for_s: float
    draw: int


def drawn(
    seed: int | str, counts: Mapping[str, int], length_s: float, possible: Collection[Way]
) -> dict[str, list[Mishap]]:
    """For each kind of node what befalls it, one mishap after another: so one node at a time."""
    return {
        kind: _course(random.Random(f"{seed} {kind}"), kind, count, length_s, possible)
        for kind, count in counts.items()
    }


def _course(
    chance: random.Random, kind: str, count: int, length_s: float, possible: Collection[Way]
) -> list[Mishap]:
    ways = {way: weight for way, weight in TABLE[kind].items() if way in possible}
    if count == 1 and kind == "tag-index":
        # What it alone knows would be lost.
        ways.pop(Way.WIPED, None)
    course: list[Mishap] = []
    at_s = 0.0
    while True:
        after_s = chance.uniform(*PAUSE_S) if course else chance.uniform(0, FIRST_S)
        (way,) = chance.choices(list(ways), list(ways.values()))
        for_s = chance.uniform(*LASTS_S)
        at_s += after_s + for_s
        if course and at_s > length_s:
            return course
        node, draw = chance.randrange(count), chance.getrandbits(32)
        course.append(Mishap(kind, node, way, after_s, for_s, draw))
