"""What was found out of signatures, for as long as it counts. Told the time, it asks nobody."""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto

from octopull.kernel.digest import Digest
from octopull.oci.manifests import INDEXES, Manifest

VERDICTS_MAX = 100_000
"""Digests that are remembered; about 30 MB."""

REFUSED_MAX = 10_000
REFUSED_S = 0.5
"""So soon a refused image may be pulled once it is signed; till then nobody is asked again."""


class As(Enum):
    """What a digest was found to be in a repository."""

    SIGNED = auto()
    """A manifest that a key proved."""
    MANIFEST = auto()
    """What may be pulled as a manifest."""
    BLOB = auto()
    """What may be pulled as bytes."""
    PART = auto()
    """What a manifest of signatures names: may be pulled if it is a document."""


@dataclass(frozen=True, slots=True)
class About:
    """A digest in a repository."""

    repository: str
    digest: Digest

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


class Verdicts:
    """All under one set of demands; what was found good counts for ``hold_s`` seconds."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._until_s: OrderedDict[tuple[About, As], float] = OrderedDict()
        self._refused: OrderedDict[About, tuple[float, str]] = OrderedDict()

    def counts(self, about: About, kind: As, now: float) -> bool:
        """Whether it was found so lately."""
        return now < self._until_s.get((about, kind), now)

    def counted(self, about: About, kind: As) -> bool:
        """Whether it was found so ever: good enough while nobody can be asked."""
        return (about, kind) in self._until_s

    def found(self, about: About, kind: As, now: float) -> None:
        """It is so."""
        self._refused.pop(about, None)
        self._until_s[about, kind] = now + self._hold_s
        self._until_s.move_to_end((about, kind))
        while len(self._until_s) > VERDICTS_MAX:
            self._until_s.popitem(last=False)

    def vouch(self, about: About, manifest: Manifest, now: float) -> None:
        """A manifest may be pulled, and so may what it needs; of an index, as manifests, too."""
        self.found(about, As.MANIFEST, now)
        self.found(about, As.BLOB, now)
        for one in manifest.references:
            below = About(about.repository, one.digest)
            self.found(below, As.BLOB, now)
            if manifest.media_type in INDEXES:
                self.found(below, As.MANIFEST, now)

    def refuse(self, about: About, told: str, now: float) -> None:
        """It is not signed, in words for people."""
        self._until_s.pop((about, As.SIGNED), None)
        self._refused[about] = now + REFUSED_S, told
        self._refused.move_to_end(about)
        while len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)

    def refusal(self, about: About, now: float) -> str | None:
        """Why it was refused a moment ago, if it was."""
        until_s, told = self._refused.get(about, (now, ""))
        return told if now < until_s else None
