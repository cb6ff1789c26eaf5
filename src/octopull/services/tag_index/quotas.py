"""What namespaces may hold: quotas, how full they are at most, and who is refused. Pure.

What a namespace holds is measured in the book, which takes time by its size. So a ``Ledger`` knows,
between two measurements, what it holds at most: as measured, and all that was let in since. Only
where that might be beyond the quota must be measured before it is decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from octopull.config import load
from octopull.config.quotas import QuotasSettings
from octopull.kernel.errors import Denied
from octopull.kernel.units import show_size
from octopull.security.globs import Glob

SECTION = "quotas"
"""What mistakes in the file are told under."""

LIMIT = "quota"
"""Its name among limits, in metrics."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What the repositories that match one of ``globs`` may hold together, in bytes."""

    name: str
    globs: tuple[Glob, ...]
    limit: int

    def covers(self, repository: str) -> bool:
        """Whether it is about ``repository``."""
        return any(glob.matches(repository) for glob in self.globs)

    def check(self, used: int, adding: int) -> None:
        """Raises Denied: ``adding`` bytes to ``used`` would go beyond it.

        What adds nothing is not refused, however full it is.
        """
        if not adding or used + adding <= self.limit:
            return
        if used >= self.limit:
            words = f"{self} is full: {show_size(used)} are used"
        else:
            words = (
                f"adding {show_size(adding)} to the {show_size(used)} that are used "
                f"would exceed {self}"
            )
        raise Denied(words, limit=LIMIT, quota=self.name)

    def __str__(self) -> str:
        patterns = ", ".join(map(str, self.globs))
        return f"the quota {self.name} of {show_size(self.limit)} for {patterns}"


@dataclass(frozen=True, slots=True)
class Quotas:
    """All of them."""

    all: Sequence[Quota] = ()

    def of(self, repository: str) -> list[Quota]:
        """Those that count for ``repository``; all of them must have room."""
        return [quota for quota in self.all if quota.covers(repository)]


def parse(content: bytes) -> Quotas:
    """The quotas of a YAML file.

    Raises:
        Misuse: every mistake at once.

    """
    document = load.decode(content, "no quotas")
    found = load.load(QuotasSettings, SECTION, {SECTION: document}, {})
    return Quotas(
        [Quota(one.name, tuple(map(Glob, one.repositories)), one.bytes) for one in found.quotas]
    )


@dataclass(slots=True)
class Ledger:
    """What one namespace holds at most, in bytes.

    Invariant: ``most``, if it is known, is never less than what the namespace holds, as long as
    each push is ``admitted`` before it counts, and a measurement tells the ``mark`` of when it began.
    """

    _most: int | None = None
    _admitted: int = field(default=0)

    @property
    def most(self) -> int | None:
        """So much it holds at most; None if nobody knows."""
        return self._most

    @property
    def mark(self) -> int:
        """Names this moment, for ``measured``."""
        return self._admitted

    def admitted(self, size: int) -> None:
        """``size`` bytes, or fewer, may be added."""
        self._admitted += size
        if self._most is not None:
            self._most += size

    def measured(self, used: int, mark: int) -> None:
        """It held ``used`` bytes when ``mark`` was taken."""
        self._most = used + self._admitted - mark

    def forget(self) -> None:
        """Others may have added to it."""
        self._most = None
