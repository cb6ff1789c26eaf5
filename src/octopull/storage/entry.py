"""What is known of a blob on a disk without reading it."""

from dataclasses import dataclass
from pathlib import Path

from octopull.kernel.digest import Digest
from octopull.storage import sides


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored blob, with when it was read and touched last (seconds since the epoch).

    ``backed``: storage that is not ours has it, too; ``lone``: it is never collected.
    """

    digest: Digest
    size: int
    last_access_s: float
    touched_s: float
    pinned: bool
    backed: bool
    lone: bool


def look(digest: Digest, path: Path, *, pinned: bool) -> Entry | None:
    """The entry of the blob whose file is ``path``; None if it isn't there."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return Entry(
        digest, stat.st_size, stat.st_atime, stat.st_mtime, pinned, sides.backed(path).exists(),
        sides.lone(path).exists(),
    )  # fmt: skip
