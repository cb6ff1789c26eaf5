"""Whether one order of its operations explains what a register was told and told.

The search of Wing and Gong, as Lowe and porcupine do it: operations are taken one by one, in every
order that real time allows, and no set of taken ones is looked at twice with the same value.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Value = str | None
"""None: there is nothing."""

SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A read or a write of ``value``, which took effect once between two moments.

    Of a write whose outcome nobody knows the second is infinity: it may come late, or never.
    """

    writes: bool
    value: Value
    invoked_s: float
    returned_s: float = math.inf
    note: str = ""

    def __str__(self) -> str:
        what = "write" if self.writes else "read"
        until = "?" if self.returned_s == math.inf else f"{self.returned_s:.3f}"
        return f"{self.invoked_s:.3f}..{until} s {what} {self.value} {self.note}".rstrip()


@dataclass(frozen=True, slots=True)
class Unexplained:
    """The longest beginning that has an order, and what fits behind none that is as long."""

    order: list[Step]
    value: Value
    stuck: list[Step]

    def __str__(self) -> str:
        shown = self.order[-SHOWN:]
        left_out = [f"  ({len(self.order) - len(shown)} before)"] * (len(shown) < len(self.order))
        return "\n".join([
            "no order of the operations explains what was read; the longest that does ends with",
            *left_out, *(f"  {step}" for step in shown),
            f"then it is {self.value}, and nothing follows, though by then one of these must:",
            *(f"  {step}" for step in self.stuck),
        ])  # fmt: skip


def unexplained(steps: Sequence[Step], first: Value = None) -> Unexplained | None:
    """Why no order explains ``steps`` of a register that was ``first``; None if one does."""
    line = sorted(_telling(steps), key=lambda step: (step.invoked_s, step.returned_s))
    must = sum(1 << at for at, step in enumerate(line) if step.returned_s < math.inf)
    way = [_Place(0, first, _next(line, 0, first))]
    seen: set[tuple[int, Value]] = {(0, first)}
    longest, furthest = [0], way[0]
    while way:
        place = way[-1]
        if place.taken & must == must:
            return None
        if (place.taken & must).bit_count() > (furthest.taken & must).bit_count():
            longest, furthest = [one.taken for one in way], place
        for at in place.options:
            step = line[at]
            taken, value = place.taken | 1 << at, step.value if step.writes else place.value
            if (taken, value) not in seen:
                seen.add((taken, value))
                way.append(_Place(taken, value, _next(line, taken, value)))
                break
        else:
            way.pop()
    order = [line[(after ^ before).bit_length() - 1] for before, after in pairwise(longest)]
    stuck = [line[at] for at in _possible(line, furthest.taken)]
    return Unexplained(order, furthest.value, stuck)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a search is: which steps are taken, as bits, and what the register is then."""

    taken: int
    value: Value
    options: Iterator[int]


def _telling(steps: Sequence[Step]) -> Iterator[Step]:
    """Without what can be left out: a write that may never have been, and that nobody saw."""
    read = {step.value for step in steps if not step.writes}
    for step in steps:
        if step.returned_s < math.inf or (step.writes and step.value in read):
            yield step


def _next(line: Sequence[Step], taken: int, value: Value) -> Iterator[int]:
    """Which steps to try; a read that fits is taken at once, since it stands in nobody's way."""
    possible = list(_possible(line, taken))
    for at in possible:
        if not line[at].writes and line[at].value == value:
            return iter((at,))
    return (at for at in possible if line[at].writes)


def _possible(line: Sequence[Step], taken: int) -> Iterator[int]:
    """The steps that began before every other one that is not taken had ended."""
    first_end_s = math.inf
    for at in range((~taken & (taken + 1)).bit_length() - 1, len(line)):
        if not taken >> at & 1:
            if line[at].invoked_s > first_end_s:
                return
            yield at
            first_end_s = min(first_end_s, line[at].returned_s)
