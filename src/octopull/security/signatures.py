"""From which repositories only signed images may be pulled, and whether an image is signed.

Decides by what was fetched already; nothing is asked of anybody, no transparency log either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from octopull.config.policy import SignatureSettings
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse
from octopull.oci.signatures import Statement
from octopull.security import verifying
from octopull.security.globs import Glob
from octopull.security.verifying import VerifyingKey

ReadFile = Callable[[str], bytes]
"""The bytes of a file that another one names; raises Misuse."""


def no_files(name: str) -> bytes:
    """Of rules that are in no file.

    Raises:
        Misuse: always; there is nothing that keys could be beside.

    """
    raise Misuse("only a file of rules may name keys", name=name)


@dataclass(frozen=True, slots=True)
class Signatures:
    """All that was found as signatures of one image; ``unreadable`` ones say nothing."""

    statements: tuple[Statement, ...] = ()
    unreadable: int = 0

    @property
    def count(self) -> int:
        """How many were looked at."""
        return len(self.statements) + self.unreadable

    def with_more(self, more: "Signatures") -> "Signatures":
        """These and others."""
        return Signatures(self.statements + more.statements, self.unreadable + more.unreadable)


@dataclass(frozen=True, slots=True)
class Demand:
    """One line of the file: a signature by one of ``keys``."""

    repositories: tuple[Glob, ...]
    keys: tuple[VerifyingKey, ...]

    def refusal(self, image: Digest, found: Signatures, what: str) -> str | None:
        """Why ``image``, which people know as ``what``, may not be pulled; None: it may."""
        about = [one for one in found.statements if image in one.images]
        if any(self._proven(one) for one in about):
            return None
        named = {key.hint: key for key in self.keys}
        wrong = next((named[one.hint] for one in about if one.hint in named), None)
        if wrong is not None:
            return f"{what} may not be pulled: its signature by {wrong.name} does not verify"
        refused = f"{what} is not signed by any key that {self} demands"
        if about:
            return f"{refused}: its signature does not verify"
        if found.statements:
            return f"{refused}: its signature is of another image"
        return f"{refused}: its signature can't be read" if found.unreadable else refused

    def _proven(self, statement: Statement) -> bool:
        return any(
            key.proves(signature, statement.message)
            for key in self.keys
            for signature in statement.signatures
        )

    def __str__(self) -> str:
        return ", ".join(map(str, self.repositories))


@dataclass(frozen=True, slots=True)
class Demands:
    """All lines of the file."""

    demands: tuple[Demand, ...] = ()

    def of(self, repository: str) -> "Demands":
        """Those that are about ``repository``."""
        return Demands(
            tuple(
                one
                for one in self.demands
                if any(glob.matches(repository) for glob in one.repositories)
            )
        )

    def refusal(self, image: Digest, found: Signatures, what: str) -> str | None:
        """As of a ``Demand``: each must be satisfied."""
        refusals = (one.refusal(image, found, what) for one in self.demands)
        return next((told for told in refusals if told is not None), None)

    def __bool__(self) -> bool:
        return bool(self.demands)

    def __str__(self) -> str:
        return " and ".join(map(str, self.demands))


def parse(settings: Sequence[SignatureSettings], read: ReadFile, mistakes: list[str]) -> Demands:
    """The demands of a file, whose keys ``read`` gets; what is wrong is added to ``mistakes``."""
    found = []
    for number, one in enumerate(settings, 1):
        where, globs, keys = f"signatures {number}", list[Glob](), list[VerifyingKey]()
        for text in one.repositories:
            try:
                globs.append(Glob(text))
            except Misuse as fault:
                mistakes.append(f"{where}: {fault}")
        for name in one.keys:
            try:
                keys.append(verifying.parse(read(name), name.rpartition("/")[2]))
            except Misuse as fault:
                mistakes.append(f"{where}: {name}: {fault}")
        found.append(Demand(tuple(globs), tuple(keys)))
    return Demands(tuple(found))
