"""How much namespaces may hold: a file of its own, read anew while the tag index runs (docs/limits.md)."""

import math
import re
from dataclasses import dataclass, field

from octopull.kernel.errors import Misuse

QUOTAS_MAX = 10_000
"""Each push is compared with all of them, and each of them is measured by itself."""

BYTES_MAX = 1 << 62
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaFileSettings:
    """Where the tag index finds quotas."""

    file: str = ""
    """The file of quotas, the same at all tag indexes; empty: there are none."""
    check_s: float = 2.0
    """How often it is looked at. A file that is wrong changes nothing."""
    measure_s: float = 60.0
    """How often what is used is measured anew for metrics, if the book has changed. What decides is
    measured when it matters."""

    def __post_init__(self) -> None:
        if not (0 < self.check_s < math.inf and 0 < self.measure_s < math.inf):
            raise Misuse("quotas are looked at every so often, and measured",
                         check_s=self.check_s, measure_s=self.measure_s)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSettings:
    """What some repositories may hold together."""

    name: str
    """In refusals, metrics and ``octopull quotas``."""
    repositories: list[str]
    """Patterns: ``*`` is any characters but a slash, ``**`` any at all."""
    bytes: int
    """The sizes of all blobs and manifests they hold, each counted once. 0: nothing may be pushed."""

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise Misuse("a quota's name is of letters, digits, dots and dashes", name=self.name)
        if not self.repositories:
            raise Misuse("a quota names its repositories", name=self.name)
        if not 0 <= self.bytes <= BYTES_MAX:
            raise Misuse("a quota is so many bytes", name=self.name, bytes=self.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotasSettings:
    """The file."""

    quotas: list[QuotaSettings] = field(default_factory=list[QuotaSettings])

    def __post_init__(self) -> None:
        known = [one.name for one in self.quotas]
        if len(set(known)) != len(known):
            raise Misuse("each quota has a name of its own", names=sorted(known))
        if len(known) > QUOTAS_MAX:
            raise Misuse("too many quotas", most=QUOTAS_MAX)
