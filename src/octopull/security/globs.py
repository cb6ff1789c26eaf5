"""Patterns of names: ``*`` stands for any characters but a slash, ``**`` for any at all.

Names come from strangers, so matching takes time in proportion to the name, whatever the pattern.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from octopull.kernel.errors import Misuse

GLOB_CHARS_MAX = 512
_STEP = re.compile(r"\*\*|.", re.DOTALL)


@dataclass(frozen=True)
class Glob:
    """One pattern.

    Raises:
        Misuse: it is empty or too long.

    """

    text: str

    def __post_init__(self) -> None:
        if not 0 < len(self.text) <= GLOB_CHARS_MAX:
            raise Misuse("a pattern is not empty, and not too long", chars_max=GLOB_CHARS_MAX)

    @property
    def is_everything(self) -> bool:
        """Whether nothing can fail to match."""
        return self.text == "**"

    @cached_property
    def _steps(self) -> list[str]:
        return _STEP.findall(self.text)

    @cached_property
    def prefix(self) -> str:
        """What all names that match begin with."""
        return self.text.partition("*")[0]

    def matches(self, name: str) -> bool:
        """Whether the whole of ``name`` matches."""
        if not name.startswith(self.prefix):
            return False
        steps, here = self._steps, {0}
        for char in name:
            there: set[int] = set()
            for at in self._past_stars(here):
                step = steps[at] if at < len(steps) else ""
                if step == "**" or (step == "*" and char != "/"):
                    there.add(at)
                elif step == char:
                    there.add(at + 1)
            if not there:
                return False
            here = there
        return len(steps) in self._past_stars(here)

    def _past_stars(self, places: set[int]) -> set[int]:
        """``places``, and those that stars which stand for nothing let one reach."""
        reached = set(places)
        for place in places:
            at = place
            while at < len(self._steps) and self._steps[at].startswith("*"):
                at += 1
                reached.add(at)
        return reached

    def __str__(self) -> str:
        return self.text
