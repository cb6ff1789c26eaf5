"""The tag indexes that refer to blobs of this origin, known by the names of their databases.

A tag index can tell garbage only if it knows all references. One that lost its database, or
is not alone, would take every blob of the other for garbage: so each leaves its name when it
keeps blobs, and one that is not the only name here collects nothing.
"""

import re
import threading
from pathlib import Path

from octopull.kernel.errors import InvalidName, Misuse
from octopull.storage import durable
from octopull.storage.durable import disk_faults

_NAME = re.compile(r"[0-9a-f]{16}", re.ASCII)
BOOKS_MAX = 100


class Books:
    """One empty file per name in ``folder``. Calls block and may come from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        with disk_faults("reading which tag indexes refer to blobs"):
            durable.make_folder(folder)
            self._names = {p.name for p in folder.iterdir() if _NAME.fullmatch(p.name)}

    def add(self, name: str) -> None:
        """Remember ``name``; durable when this returns.

        Raises:
            InvalidName: it is none. Misuse: there are too many.

        """
        if name in self._names:
            return
        if _NAME.fullmatch(name) is None:
            raise InvalidName("not the name of a tag index's database", book=name[:80])
        with self._lock, disk_faults("remembering a tag index"):
            if len(self._names) >= BOOKS_MAX:
                raise Misuse("too many tag indexes refer to blobs here", most=BOOKS_MAX)
            durable.put(self._folder / name, b"")
            self._names.add(name)

    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._names)

    def check_alone(self, name: str) -> None:
        """Raise Misuse if another than ``name`` refers to blobs here."""
        if others := self._names - {name}:
            raise Misuse("another tag index refers to blobs here", others=sorted(others))
