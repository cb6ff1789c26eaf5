"""How many requests of pulls were answered while something befell the cluster."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from support.chaos.client import Asked
from support.chaos.history import Spell
from support.chaos.mishaps import Way

WAYS = {Way.KILLED: "killed", Way.WIPED: "killed", Way.STOPPED: "stopped", Way.CUT: "cut off"}
"""Those that take a node away, and under which name they count."""

NOBODY = "nobody harmed"


@dataclass
class Availability:
    """Requests of pulls of images that no agent had, and how many gave what they should."""

    asked: int = 0
    fine: int = 0
    failed: list[str] = field(default_factory=list[str])
    """The others, and what befell whom meanwhile."""

    @property
    def share(self) -> float:
        """Of those that were answered."""
        return self.fine / self.asked


def weighed(
    asked: Iterable[Asked], spells: Sequence[Spell], *, sole_index: bool
) -> dict[str, Availability]:
    """Count each request for all that befell other nodes meanwhile.

    One to an agent that something befell itself is its host's affair; and while the only tag index
    is away, what befalls others tells nothing.
    """
    found: dict[str, Availability] = {}
    for one in asked:
        during = [spell for spell in spells if spell.from_s < one.to_s and one.from_s < spell.to_s]
        if any(spell.node == one.via for spell in during):
            continue
        if sole_index:
            during = [spell for spell in during if spell.kind == "tag-index"] or during
        names = {f"{spell.kind} {WAYS[way]}" for spell in during if (way := Way(spell.way)) in WAYS}
        for name in names or ([] if during else [NOBODY]):
            total = found.setdefault(name, Availability())
            total.asked += 1
            total.fine += one.fine
            if not one.fine:
                told = f"{one.from_s:.3f}..{one.to_s:.3f} via {one.via}: {one.said}"
                total.failed.append(f"{told} ({'; '.join(map(str, during))})")
    return found


def summed(runs: Iterable[dict[str, Availability]]) -> dict[str, Availability]:
    """Of several runs."""
    sums: dict[str, Availability] = {}
    for run in runs:
        for name, one in sorted(run.items()):
            total = sums.setdefault(name, Availability())
            total.asked += one.asked
            total.fine += one.fine
            total.failed += one.failed
    return dict(sorted(sums.items()))
